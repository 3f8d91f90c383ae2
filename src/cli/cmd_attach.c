/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/cli.h"

static int run_attach(int argc, char **argv)
{
	(void)argc;
	return cli_fail("%s is being built", argv[0]);
}

const struct cli_verb cmd_attach = {
	.name = "attach",
	.summary = "",
	.help = "",
	.run = run_attach,
};
