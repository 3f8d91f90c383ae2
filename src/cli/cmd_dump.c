/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/cli.h"

static int run_dump(int argc, char **argv)
{
	(void)argc;
	return cli_fail("%s is being built", argv[0]);
}

const struct cli_verb cmd_dump = {
	.name = "dump",
	.summary = "",
	.help = "",
	.run = run_dump,
};
