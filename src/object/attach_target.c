/* SPDX-License-Identifier: BSD-2-Clause */
#include "object/attach_target.h"

#include <errno.h>
#include <stdio.h>

#include "format/btf.h"

const char *attach_target_name(const struct object *btf, u32 id)
{
	const struct btf_type *type = btf_type_at(btf->btf.types, id);

	return type ? btf_type_name(btf->btf.types, type) : "";
}

/* What of a signature stands in the way of this attach type, or NULL. */
static const char *obstacle(const struct signature *signature, u32 attach_type)
{
	if (attach_type == BPF_TRACE_FENTRY)
		return NULL;
	if (signature->variadic)
		return "it takes a variable number of arguments, which cannot be passed on; use "
		       "fentry, or uretprobe";
	if (attach_type == BPF_MODIFY_RETURN && signature->returns != SIGNATURE_INTEGER)
		return "its result is not one integer or pointer, and nothing else can be replaced";
	return NULL;
}

static int read_signature(const struct btf *types, u32 attach_type, struct attach_target *target,
			  const char **ret_reason)
{
	const struct btf_type *type = btf_type_at(types, target->id);
	int error;

	*ret_reason = NULL;
	if (!type || BTF_INFO_KIND(type->info) != BTF_KIND_FUNC)
		return -EINVAL;
	error = signature_of_prototype(types, type->type, &target->signature, ret_reason);
	if (error)
		return error;
	*ret_reason = obstacle(&target->signature, attach_type);
	if (*ret_reason)
		return -EOPNOTSUPP;
	target->ctx_size = 8u * target->signature.slot_count;
	if (attach_type == BPF_MODIFY_RETURN ||
	    (attach_type == BPF_TRACE_FEXIT && signature_has_result(&target->signature)))
		target->ctx_size += 8;
	return 0;
}

int attach_target_find(const union bpf_attr *attr, struct attach_target *ret_target, char *reason,
		       size_t reason_size)
{
	struct attach_target target = {.id = attr->attach_btf_id};
	u32 attach_type = attr->expected_attach_type;
	const char *cause;
	int error;

	/* Without a descriptor the kernel's own types are meant, of which there are none here. */
	if (attr->prog_type != BPF_PROG_TYPE_TRACING || !attr->attach_btf_id ||
	    !attr->attach_btf_obj_fd)
		return 0;
	if (attach_type != BPF_TRACE_FENTRY && attach_type != BPF_TRACE_FEXIT &&
	    attach_type != BPF_MODIFY_RETURN)
		return 0;
	error = objects_get(OBJECT_BTF, (int)attr->attach_btf_obj_fd, &target.btf);
	if (error)
		return error;
	error = read_signature(target.btf->btf.types, attach_type, &target, &cause);
	if (!error) {
		*ret_target = target;
		return 0;
	}
	if (cause)
		snprintf(reason, reason_size, "the function '%s' cannot be traced: %s",
			 attach_target_name(target.btf, target.id), cause);
	objects_put(target.btf);
	return error;
}
