/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens when the library is loaded into a client: links of its programs go to agents. */
#include "agent/backend.h"
#include "object/object.h"

__attribute__((constructor)) static void set_backend(void)
{
	object_set_link_backend(&agent_link_backend);
}
