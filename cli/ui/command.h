/* One table of commands per program drives parsing (argp), --help, shell completion and the
 * reference page in docs/. */
#ifndef KLUIS_CLI_UI_COMMAND_H
#define KLUIS_CLI_UI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/ui/output.h"

enum { COMMAND_VALUES_MAX = 64, COMMAND_OPTIONS_MAX = 32 };

struct command_option {
	const char *name; /* Long name, without dashes. */
	char letter;	  /* Short name or 0. */
	const char *arg; /* Name of its value, NULL for a flag; of a "DIR" slashes at the end go. */
	const char *doc;
};

struct invocation;

struct command {
	const char *name;		      /* One to three words: "put", "vault create". */
	const char *args;		      /* "SOURCE... VAULT:/PATH" */
	const char *summary;		      /* One line, no full stop. */
	const char *details;		      /* More, or NULL. */
	const struct command_option *options; /* Ends with a row whose name is NULL; or NULL. */
	size_t args_min, args_max;
	/* 0 or KLUIS_E*, the reason in invocation's err. */
	int (*run)(struct invocation *inv);
};

struct program {
	const char *name, *summary;
	const struct command *commands;	      /* Ends with a row whose name is NULL. */
	const struct command_option *options; /* Taken by every command, before or behind it. */
	void *context;			      /* Handed to the commands. */
};

struct invocation_value {
	const struct command_option *option;
	const char *value;
};

/* A parsed command line; lives in program_run(). Strings belong to argv. */
struct invocation {
	const struct program *program;
	const struct command *command;
	struct output out;
	bool yes;
	struct invocation_value values[COMMAND_VALUES_MAX];
	size_t n_values;
	char **args;
	size_t n_args;
	struct err err;
	int exit_code; /* Not 0: a failure ends with this instead of its own. */
};

/* Parses and runs; prints what is to be printed, errors too. Returns the exit code (API section
 * 7). */
int program_run(const struct program *program, int argc, char **argv);

/* Value of an option (the last one given), or NULL. A given flag has the value "". */
const char *invocation_value(const struct invocation *inv, const char *option);
/* The nth (from 0) value of an option that may be repeated, or NULL. */
const char *invocation_value_at(const struct invocation *inv, const char *option, size_t n);
/* A number option, or otherwise when absent; KLUIS_EINVAL with the reason beyond max. */
KLUIS_MUST_CHECK int invocation_number(struct invocation *inv, const char *option,
	uint64_t otherwise, uint64_t max, uint64_t *ret_value);
/* True when --yes was given or a person at the terminal typed yes. Else false with inv->err set
 * (KLUIS_EINVAL when nobody could be asked). */
bool invocation_confirm(struct invocation *inv, const char *question);
/* As invocation_confirm(), for what --yes must not answer: true only when a person at the terminal
 * typed yes. */
bool invocation_ask(struct invocation *inv, const char *question);

/* The parts every program has. */
int command_run_version(struct invocation *inv);
int command_run_completion(struct invocation *inv);
int command_run_help(struct invocation *inv);
/* The reference page of docs/, as Markdown. */
void program_reference(const struct program *program, struct buf *to);

#endif
