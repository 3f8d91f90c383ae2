/* SPDX-License-Identifier: BSD-2-Clause */
/* Elements of maps. The verifier has proved that map is a handle, and key and value are as large as the map says. */
#include "helpers/call.h"
#include "maps/inert.h"
#include "maps/map.h"

#include <errno.h>

HELPER_2(map_lookup_elem, map, key)
{
	struct map *view = ptr_from_u64(map);

	return view->ops->lookup ? ptr_to_u64(view->ops->lookup(view, ptr_from_u64(key))) : 0;
}

HELPER_4(map_update_elem, map, key, value, flags)
{
	struct map *view = ptr_from_u64(map);

	if (!view->ops->update)
		return helper_result(-EOPNOTSUPP);
	return helper_result(
		view->ops->update(view, ptr_from_u64(key), ptr_from_u64(value), flags));
}

/* Both engines do it themselves; this is how it looks to whoever asks for an address. */
HELPER_0(tail_call)
{
	return helper_result(-EOPNOTSUPP);
}

HELPER_2(map_delete_elem, map, key)
{
	struct map *view = ptr_from_u64(map);

	if (!view->ops->delete)
		return helper_result(-EOPNOTSUPP);
	return helper_result(view->ops->delete (view, ptr_from_u64(key)));
}

HELPER_2(get_local_storage, map, flags)
{
	(void)flags; /* the verifier knows it to be 0 */
	return ptr_to_u64(map_local_storage(ptr_from_u64(map)));
}
