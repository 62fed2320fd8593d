#include "cli/ui/command.h"

#include <argp.h>
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/ui/prompt.h"

/* Options every command of both programs takes. */
static const struct command_option command_common[] = {
	{"output", 'o', "FORMAT", "table (default) or json"},
	{"quiet", 'q', NULL, "No notes, no progress bar"},
	{"yes", 'y', NULL, "Answer yes to every question"},
	{"help", 'h', NULL, "Show this help and do nothing"},
	{NULL, 0, NULL, NULL},
};

/* Of the program alone. */
static const struct command_option command_alone[] = {
	{"version", 0, NULL, "Show the version and do nothing"},
	{NULL, 0, NULL, NULL},
};

enum { COMMAND_LONG_KEY = 0x1000 };

/* What the argp parser fills: rows and where each came from, by index. */
struct command_parse {
	struct invocation *inv;
	const struct command_option *options[COMMAND_OPTIONS_MAX];
	struct argp_option rows[COMMAND_OPTIONS_MAX + 1];
	size_t n;
	bool stop_at_word; /* The program's own options: leave at the command's name. */
	bool help, version;
	int stopped_at, error_at;
	int usage; /* KLUIS_EINVAL when a parser refused. */
};

static void parse_add(struct command_parse *p, const struct command_option *options)
{
	for (; options != NULL && options->name != NULL; options++) {
		assert(p->n < COMMAND_OPTIONS_MAX);
		p->options[p->n] = options;
		p->rows[p->n] = (struct argp_option){.name = options->name,
			.key = options->letter != 0 ? options->letter
						    : COMMAND_LONG_KEY + (int)p->n,
			.arg = options->arg,
			.doc = options->doc};
		p->n++;
	}
}

static const struct command_option *parse_option(const struct command_parse *p, int key)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->rows[i].key == key) {
			return p->options[i];
		}
	}
	return NULL;
}

/* "copy/" is the directory "copy": with the slash, what a command puts beside it would land in it.
 */
static void parse_directory(char *value)
{
	size_t len = strlen(value);

	while (len > 1 && value[len - 1] == '/') {
		value[--len] = 0;
	}
}

static error_t parse_value(
	struct command_parse *p, const struct command_option *option, char *value)
{
	struct invocation *inv = p->inv;

	if (strcmp(option->name, "help") == 0) {
		p->help = true;
	} else if (option == &command_alone[0]) {
		p->version = true;
	} else if (strcmp(option->name, "quiet") == 0) {
		inv->out.quiet = true;
	} else if (strcmp(option->name, "yes") == 0) {
		inv->yes = true;
	} else if (strcmp(option->name, "output") == 0) {
		if (strcmp(value, "json") != 0 && strcmp(value, "table") != 0) {
			p->usage = err_set(&inv->err, KLUIS_EINVAL,
				"output format '%s' is neither table nor json", value);
			return EINVAL;
		}
		inv->out.format = value[0] == 'j' ? OUTPUT_JSON : OUTPUT_TABLE;
	} else if (inv->n_values == COMMAND_VALUES_MAX) {
		p->usage = err_set(
			&inv->err, KLUIS_EINVAL, "more than %d options", COMMAND_VALUES_MAX);
		return EINVAL;
	} else {
		if (option->arg != NULL && strcmp(option->arg, "DIR") == 0) {
			parse_directory(value);
		}
		inv->values[inv->n_values++] =
			(struct invocation_value){option, value == NULL ? "" : value};
	}
	return 0;
}

static error_t parse_key(int key, char *arg, struct argp_state *state)
{
	struct command_parse *p = state->input;
	const struct command_option *option;

	switch (key) {
	case ARGP_KEY_ARG:
		if (p->stop_at_word) {
			p->stopped_at = state->next - 1;
			state->next = state->argc;
			return 0;
		}
		p->inv->args[p->inv->n_args++] = arg;
		return 0;
	case ARGP_KEY_ERROR:
		p->error_at = state->next;
		return 0;
	case ARGP_KEY_ARGS:
	case ARGP_KEY_NO_ARGS:
	case ARGP_KEY_INIT:
	case ARGP_KEY_FINI:
	case ARGP_KEY_SUCCESS:
	case ARGP_KEY_END:
		return 0;
	default:
		option = parse_option(p, key);
		return option == NULL ? ARGP_ERR_UNKNOWN : parse_value(p, option, arg);
	}
}

/* KLUIS_EINVAL with the reason in inv->err. argp's own complaints would bypass the renderer. */
static int parse_run(struct command_parse *p, int argc, char **argv)
{
	struct argp argp = {.options = p->rows, .parser = parse_key};
	error_t rc;

	p->stopped_at = argc;
	rc = argp_parse(&argp, argc, argv,
		ARGP_NO_EXIT | ARGP_NO_ERRS | ARGP_NO_HELP | (p->stop_at_word ? ARGP_IN_ORDER : 0),
		NULL, p);
	if (rc == 0) {
		return 0;
	}
	if (p->usage == 0) {
		int at = p->error_at;
		const char *near = at > 1 && at <= argc ? argv[at - 1] : "";

		p->usage = err_set(&p->inv->err, KLUIS_EINVAL,
			"unknown option, or one without its value: '%s'", near);
	}
	return p->usage;
}

static size_t command_words(const struct command *command)
{
	size_t words = 1;

	for (const char *at = command->name; (at = strchr(at, ' ')) != NULL; at++) {
		words++;
	}
	return words;
}

static bool command_matches(const struct command *command, int argc, char **argv)
{
	const char *at = command->name;

	for (int i = 0; i < argc; i++) {
		size_t len = strcspn(at, " ");

		if (strlen(argv[i]) != len || strncmp(argv[i], at, len) != 0) {
			return false;
		}
		at += len;
		if (*at == 0) {
			return true;
		}
		at++;
	}
	return false;
}

static const struct command *program_command(const struct program *program, int argc, char **argv)
{
	for (const struct command *c = program->commands; c->name != NULL; c++) {
		if (command_matches(c, argc, argv)) {
			return c;
		}
	}
	return NULL;
}

static void help_options(struct buf *to, const struct command_option *options)
{
	for (; options != NULL && options->name != NULL; options++) {
		char left[64];

		(void)snprintf(left, sizeof left, "%c%c%s --%s%s%s", options->letter ? '-' : ' ',
			options->letter ? options->letter : ' ', options->letter ? "," : " ",
			options->name, options->arg == NULL ? "" : "=",
			options->arg == NULL ? "" : options->arg);
		buf_printf(to, "  %-28s %s\n", left, options->doc);
	}
}

static void help_command(
	const struct program *program, const struct command *command, struct buf *to)
{
	buf_printf(to, "Usage: %s %s [OPTION...]%s%s\n\n%s.\n", program->name, command->name,
		command->args == NULL ? "" : " ", command->args == NULL ? "" : command->args,
		command->summary);
	if (command->details != NULL) {
		buf_printf(to, "\n%s\n", command->details);
	}
	buf_printf(to, "\n");
	help_options(to, command->options);
	help_options(to, program->options);
	help_options(to, command_common);
}

static void help_program(const struct program *program, struct buf *to)
{
	buf_printf(to, "Usage: %s [OPTION...] COMMAND [ARGUMENT...]\n\n%s.\n\nCommands:\n",
		program->name, program->summary);
	for (const struct command *c = program->commands; c->name != NULL; c++) {
		buf_printf(to, "  %-20s %s\n", c->name, c->summary);
	}
	buf_printf(to, "\n");
	help_options(to, command_alone);
	buf_printf(to, "\nOptions of every command:\n");
	help_options(to, program->options);
	help_options(to, command_common);
	buf_printf(to,
		"\nExit status: 0 done, 1 failed, 2 usage, 3 partly done, 10 not found, 11 busy or "
		"conflict,\n12 not authorised, 13 no quorum, 14 verification failed, 15 a pinned "
		"key "
		"or head changed.\n");
}

static void help_print(const struct invocation *inv, const struct command *command)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	if (command == NULL) {
		help_program(inv->program, &text);
	} else {
		help_command(inv->program, command, &text);
	}
	(void)fputs(buf_str(&text), inv->out.data);
}

static int program_unknown(struct invocation *inv, int argc, char **argv)
{
	if (argc == 0) {
		return err_set(&inv->err, KLUIS_EINVAL, "no command given; '%s help' lists them",
			inv->program->name);
	}
	return err_set(&inv->err, KLUIS_EINVAL, "'%s%s%s' is no command; '%s help' lists them",
		argv[0], argc > 1 && argv[1][0] != '-' ? " " : "",
		argc > 1 && argv[1][0] != '-' ? argv[1] : "", inv->program->name);
}

static int command_check_args(struct invocation *inv)
{
	const struct command *c = inv->command;

	if (inv->n_args >= c->args_min && inv->n_args <= c->args_max) {
		return 0;
	}
	return err_set(&inv->err, KLUIS_EINVAL, "usage: %s %s%s%s", inv->program->name, c->name,
		c->args == NULL ? "" : " ", c->args == NULL ? "" : c->args);
}

static int command_parse_run(struct invocation *inv, int argc, char **argv)
{
	size_t words = command_words(inv->command);
	struct command_parse p = {.inv = inv};
	int rc;

	parse_add(&p, command_common);
	parse_add(&p, inv->program->options);
	parse_add(&p, inv->command->options);
	/* argp takes argv[0] for the program's name: here, the command's last word. */
	rc = parse_run(&p, argc - (int)words + 1, argv + words - 1);
	if (rc != 0) {
		return rc;
	}
	if (p.help) {
		help_print(inv, inv->command);
		return 0;
	}
	rc = command_check_args(inv);
	return rc != 0 ? rc : inv->command->run(inv);
}

static int program_parse_run(struct invocation *inv, int argc, char **argv)
{
	struct command_parse p = {.inv = inv, .stop_at_word = true};
	int rc;

	parse_add(&p, command_alone);
	parse_add(&p, command_common);
	parse_add(&p, inv->program->options);
	rc = parse_run(&p, argc, argv);
	if (rc != 0) {
		return rc;
	}
	if (p.help) {
		help_print(inv, NULL);
		return 0;
	}
	if (p.version) {
		return command_run_version(inv);
	}
	argc -= p.stopped_at;
	argv += p.stopped_at;
	inv->command = program_command(inv->program, argc, argv);
	return inv->command == NULL ? program_unknown(inv, argc, argv)
				    : command_parse_run(inv, argc, argv);
}

int program_run(const struct program *program, int argc, char **argv)
{
	struct invocation inv = {.program = program,
		.out = {.data = stdout, .notes = stderr},
		.args = x_calloc((size_t)argc + 1, sizeof(char *))};
	int rc;

	assert(argc > 0);
	rc = program_parse_run(&inv, argc, argv);
	if (fflush(stdout) != 0 && rc == 0) {
		rc = err_set_errno(&inv.err, errno, "write to standard output");
	}
	if (rc != 0) {
		if (inv.err.code == 0) {
			(void)err_set(&inv.err, rc, "%s", err_text(rc));
		}
		output_error(&inv.out, program->name, &inv.err);
	}
	free(inv.args);
	return rc != 0 && inv.exit_code != 0 ? inv.exit_code : err_exit_code(rc);
}

const char *invocation_value_at(const struct invocation *inv, const char *option, size_t n)
{
	for (size_t i = 0; i < inv->n_values; i++) {
		if (strcmp(inv->values[i].option->name, option) == 0 && n-- == 0) {
			return inv->values[i].value;
		}
	}
	return NULL;
}

const char *invocation_value(const struct invocation *inv, const char *option)
{
	const char *value = NULL, *next;

	for (size_t n = 0; (next = invocation_value_at(inv, option, n)) != NULL; n++) {
		value = next;
	}
	return value;
}

int invocation_number(struct invocation *inv, const char *option, uint64_t otherwise, uint64_t max,
	uint64_t *ret_value)
{
	const char *text = invocation_value(inv, option);

	if (text == NULL) {
		*ret_value = otherwise;
		return 0;
	}
	if (u64_parse(bytes_str(text), max, ret_value) != 0) {
		return err_set(&inv->err, KLUIS_EINVAL, "--%s: '%s' is no number from 0 to %llu",
			option, text, (unsigned long long)max);
	}
	return 0;
}

bool invocation_confirm(struct invocation *inv, const char *question)
{
	if (inv->yes) {
		return true;
	}
	if (prompt_yes(question, &inv->err) == 0) {
		return true;
	}
	if (inv->err.code == KLUIS_EINVAL) {
		(void)err_wrap(&inv->err, KLUIS_EINVAL, "confirmation needed (--yes gives it)");
	}
	return false;
}

bool invocation_ask(struct invocation *inv, const char *question)
{
	return prompt_yes(question, &inv->err) == 0;
}

int command_run_version(struct invocation *inv)
{
	static const struct output_column columns[] = {
		{"program", "Program", OUTPUT_TEXT}, {"version", "Version", OUTPUT_TEXT}};
	json_t *record =
		json_pack("{s:s, s:s}", "program", inv->program->name, "version", KLUIS_VERSION);

	output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	return 0;
}

int command_run_help(struct invocation *inv)
{
	const struct command *command = NULL;

	if (inv->n_args > 0) {
		command = program_command(inv->program, (int)inv->n_args, inv->args);
		if (command == NULL) {
			return program_unknown(inv, (int)inv->n_args, inv->args);
		}
	}
	if (invocation_value(inv, "markdown") != NULL) {
		_cleanup_(buf_release) struct buf page = BUF_INIT;

		program_reference(inv->program, &page);
		(void)fputs(buf_str(&page), inv->out.data);
		return 0;
	}
	help_print(inv, command);
	return 0;
}

static void reference_options(struct buf *to, const struct command_option *options)
{
	for (; options != NULL && options->name != NULL; options++) {
		buf_printf(to, "- `");
		if (options->letter != 0) {
			buf_printf(to, "-%c, ", options->letter);
		}
		buf_printf(to, "--%s%s%s`: %s\n", options->name, options->arg == NULL ? "" : "=",
			options->arg == NULL ? "" : options->arg, options->doc);
	}
}

void program_reference(const struct program *program, struct buf *to)
{
	buf_printf(to,
		"# %s\n\n%s. This page is printed by `%s help --markdown` and compared with it by "
		"a test.\n\nOptions of every command:\n\n",
		program->name, program->summary, program->name);
	reference_options(to, program->options);
	reference_options(to, command_common);
	buf_printf(to,
		"\nExit status: 0 done, 1 failed, 2 usage, 3 partly done, 10 not found, 11 busy or "
		"conflict, 12 not authorised, 13 no quorum, 14 verification failed, 15 a pinned "
		"key "
		"or head changed.\n");
	for (const struct command *c = program->commands; c->name != NULL; c++) {
		buf_printf(to, "\n## %s %s\n\n`%s %s%s%s`\n\n%s.\n", program->name, c->name,
			program->name, c->name, c->args == NULL ? "" : " ",
			c->args == NULL ? "" : c->args, c->summary);
		if (c->details != NULL) {
			buf_printf(to, "\n%s\n", c->details);
		}
		if (c->options != NULL) {
			buf_printf(to, "\n");
			reference_options(to, c->options);
		}
	}
}

static void completion_words(struct buf *to, const struct command_option *options)
{
	for (; options != NULL && options->name != NULL; options++) {
		buf_printf(to, " --%s", options->name);
	}
}

/* What may follow the words typed so far: a table of "words" -> "next words and options". */
static void completion_row(struct buf *to, const struct program *program, const char *prefix)
{
	size_t len = strlen(prefix);

	buf_printf(to, "\t\t\"%s\") words=\"", prefix);
	for (const struct command *c = program->commands; c->name != NULL; c++) {
		const char *rest = c->name + len + (len > 0);

		if (len > 0 && (strncmp(c->name, prefix, len) != 0 || c->name[len] != ' ')) {
			continue;
		}
		buf_printf(to, " %.*s", (int)strcspn(rest, " "), rest);
	}
	for (const struct command *c = program->commands; c->name != NULL; c++) {
		if (strcmp(c->name, prefix) == 0) {
			completion_words(to, c->options);
		}
	}
	completion_words(to, program->options);
	completion_words(to, command_common);
	buf_printf(to, "\" ;;\n");
}

static void completion_bash(const struct program *program, struct buf *to)
{
	buf_printf(to,
		"_%s() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} typed= words= i\n"
		"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		"\t\t[[ ${COMP_WORDS[i]} == -* ]] || typed+=\"${typed:+ "
		"}${COMP_WORDS[i]}\"\n\tdone\n"
		"\twhile :; do\n\t\tcase \"$typed\" in\n",
		program->name);
	completion_row(to, program, "");
	for (const struct command *c = program->commands; c->name != NULL; c++) {
		for (const char *at = c->name; at != NULL; at = strchr(at + 1, ' ')) {
			_cleanup_(x_freep) char *prefix =
				x_strndup(c->name, (size_t)(at - c->name));

			if (at != c->name) {
				completion_row(to, program, prefix);
			}
		}
		completion_row(to, program, c->name);
	}
	/* Arguments of a command are typed words, too: cut them off until a command is left. */
	buf_printf(to,
		"\t\t*) typed=${typed%% *}; continue ;;\n\t\tesac\n\t\tbreak\n\tdone\n"
		"\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
		"\t[ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
		"}\ncomplete -F _%s %s\n",
		program->name, program->name);
}

int command_run_completion(struct invocation *inv)
{
	_cleanup_(buf_release) struct buf script = BUF_INIT;

	if (strcmp(inv->args[0], "bash") != 0) {
		return err_set(&inv->err, KLUIS_EINVAL, "no completion for '%s'; bash is there",
			inv->args[0]);
	}
	completion_bash(inv->program, &script);
	(void)fputs(buf_str(&script), inv->out.data);
	return 0;
}
