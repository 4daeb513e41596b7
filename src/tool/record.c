/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * record.c - fpt record: the page events of the running kernel into a trace
 *
 * The order of things: everything that may fail for a reason of the user's (output, permissions,
 * kernel) is tried before anything is recorded. Tracing is switched on, then the free pages are
 * read, then COMMAND starts; at the end the free pages are read again, and only then is tracing
 * switched off, so that events cover both readings. The file is written last.
 */
#include "freepages.h"
#include "tool.h"
#include "trace/output.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND	UINT64_C(1000000000)

/* An interrupted COMMAND has this long to end by itself, and then so long to obey a SIGTERM. */
#define GRACE_NS	SECOND
#define OBEY_NS		(3 * SECOND)

enum { OPT_SOURCE = 1, OPT_NO_SNAPSHOT };

struct options {
	const char *output;
	const char *source;
	double seconds;			/* 0: not given */
	unsigned int buffer_kib;
	bool no_snapshot;
	char **command;
	int argc;			/* the whole command line, for the header */
	char **argv;
};

/* COMMAND, forked early so that it inherits none of our files, started late. */
struct child {
	pid_t pid;			/* 0: there is none, or it has ended */
	int go;				/* write end: a byte starts it */
	int failed;			/* read end: errno of a failed exec, or end of file */
	int status;			/* as waitpid(2) says; when it has ended */
};

struct recording {
	const struct options *o;
	struct capture *capture;
	struct capture_counts counts;	/* at the end */
	struct freepages *before;
	struct freepages *after;
	struct trace trace;
	struct child child;
	bool interrupted;
	bool tty;
	uint64_t shown_ns;		/* progress: when */
};

static const struct argp_option argp_options[] = {
	{ "output", 'o', "FILE", 0, "Write the trace to FILE (default: fpt.trace)", 0 },
	{ "duration", 'd', "SECONDS", 0, "Record for this long (default: 10)", 0 },
	{ "buffer", 'b', "KIB", 0,
	  "Kernel buffer per CPU, more if events are lost (default: 8192, or what 1/32 of the "
	  "memory allows)", 0 },
	{ "source", OPT_SOURCE, "TEXT", 0,
	  "What the trace says of its origin (default: kernel, memory, command line, date)", 0 },
	{ "no-snapshot", OPT_NO_SNAPSHOT, NULL, 0,
	  "Do not read which pages are free at the start and at the end", 0 },
	{ 0 }
};

static const char argp_doc[] =
	"Capture the page allocations and frees of the running kernel into a trace, for SECONDS "
	"or while COMMAND runs. Needs root.\v"
	"An interrupt (Ctrl-C) ends the recording and the COMMAND; the trace is saved, the exit "
	"status is 0. Else it is COMMAND's if there is one, or 128 + N if signal N ended it.";

static bool parse_seconds(const char *text, double *seconds)
{
	char *end;

	errno = 0;
	*seconds = strtod(text, &end);
	return end != text && !*end && !errno && isfinite(*seconds) && *seconds >= 0.001 &&
	       *seconds <= 1e7;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	uint64_t n;

	switch (key) {
	case 'o':
		o->output = arg;
		return 0;
	case 'd':
		if (parse_seconds(arg, &o->seconds))
			return 0;
		tool_error("-d %s: not a duration; give seconds, from 0.001 to 10000000", arg);
		return EINVAL;
	case 'b':
		if (!tool_number(arg, 16, 4u << 20, &n)) {
			tool_error("-b %s: not a buffer size; give KiB per CPU, from 16 to 4194304",
				   arg);
			return EINVAL;
		}
		o->buffer_kib = (unsigned int)n;
		return 0;
	case OPT_SOURCE:
		o->source = arg;
		return 0;
	case OPT_NO_SNAPSHOT:
		o->no_snapshot = true;
		return 0;
	case ARGP_KEY_ARG:
		/* The rest is COMMAND, with options of its own. */
		o->command = &state->argv[state->next - 1];
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		if (!o->command || o->seconds <= 0)
			return 0;
		tool_error("-d and a command exclude each other; a command is recorded until its "
			   "end");
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Asked by doing it: root passes every check of permissions, but not a read-only file system. */
static int check_output(const char *path, struct trace_error *err)
{
	struct output probe = OUTPUT_INIT;
	const int ret = output_open(&probe, path, err);

	output_end(&probe);
	return ret;
}

static void run_child(const struct options *o, int go, int failed, const sigset_t *mask)
{
	char byte;
	int error;

	/* End of file: the recorder gave up. */
	if (read(go, &byte, 1) != 1)
		_exit(EXIT_FAILED);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(o->command[0], o->command);
	error = errno;
	if (write(failed, &error, sizeof(error)) < 0)
		_exit(EXIT_FAILED);
	_exit(EXIT_FAILED);
}

static int child_fork(struct recording *r, const sigset_t *mask)
{
	int go[2], failed[2];

	if (pipe2(go, O_CLOEXEC) || pipe2(failed, O_CLOEXEC)) {
		tool_error("cannot make a pipe: %s", strerror(errno));
		return -1;
	}
	r->child.pid = fork();
	if (r->child.pid < 0) {
		tool_error("cannot fork: %s", strerror(errno));
		r->child.pid = 0;
		return -1;
	}
	if (!r->child.pid) {
		close(go[1]);
		close(failed[0]);
		run_child(r->o, go[0], failed[1], mask);
	}
	close(go[0]);
	close(failed[1]);
	r->child.go = go[1];
	r->child.failed = failed[0];
	return 0;
}

static int child_start(struct recording *r)
{
	int error = 0;

	if (write(r->child.go, "", 1) != 1)
		error = errno;
	else if (read(r->child.failed, &error, sizeof(error)) != sizeof(error))
		return 0;
	tool_error("cannot run %s: %s; nothing was written", r->o->command[0], strerror(error));
	return -1;
}

static bool child_ended(struct recording *r)
{
	if (r->child.pid && waitpid(r->child.pid, &r->child.status, WNOHANG) == r->child.pid)
		r->child.pid = 0;
	return !r->child.pid;
}

static void show_progress(struct recording *r, uint64_t since_ns)
{
	const uint64_t now = capture_now_ns(r->capture);
	const unsigned long long events = capture_counts(r->capture).events;
	double seconds = (double)(now - since_ns) / 1e9;

	if (!r->tty || now < r->shown_ns + SECOND / 2)
		return;
	r->shown_ns = now;
	if (r->o->command)
		fprintf(stderr, "\r\033[Kfpt record: %.0f s, %llu events", seconds, events);
	else
		fprintf(stderr, "\r\033[Kfpt record: %.0f s left, %llu events",
			r->o->seconds > seconds ? r->o->seconds - seconds : 0, events);
}

static void clear_progress(const struct recording *r)
{
	if (r->tty && r->shown_ns)
		fputs("\r\033[K", stderr);
}

/* What is left of an interrupted COMMAND. True: go on waiting for it. */
static bool child_wind_down(struct recording *r, uint64_t since_ns, bool *asked)
{
	const uint64_t waited = capture_now_ns(r->capture) - since_ns;

	if (waited > GRACE_NS + OBEY_NS)
		return false;
	if (waited > GRACE_NS && !*asked) {
		kill(r->child.pid, SIGTERM);
		*asked = true;
	}
	return true;
}

/* Until the time is over, COMMAND has ended, or a signal says so. */
static int record_loop(struct recording *r, const sigset_t *signals, struct trace_error *err)
{
	const unsigned int us = capture_interval_us(r->capture);
	const struct timespec interval = { us / 1000000, us % 1000000 * 1000 };
	const uint64_t start_ns = capture_now_ns(r->capture);
	const uint64_t length_ns = (uint64_t)(r->o->seconds * 1e9);
	uint64_t stop_ns = 0;
	bool asked = false;

	for (;;) {
		const int sig = sigtimedwait(signals, NULL, &interval);

		if (capture_drain(r->capture, err))
			return -1;
		show_progress(r, start_ns);
		if (r->o->command ? child_ended(r) :
		    capture_now_ns(r->capture) - start_ns >= length_ns)
			return 0;
		if (sig > 0 && sig != SIGCHLD) {
			/* The second one is impatient. */
			if (r->interrupted || !r->o->command) {
				r->interrupted = true;
				return 0;
			}
			r->interrupted = true;
			stop_ns = capture_now_ns(r->capture);
			/* A terminal's Ctrl-C reaches COMMAND as well. */
			asked = sig != SIGINT;
			if (asked)
				kill(r->child.pid, SIGTERM);
		}
		if (r->interrupted && !child_wind_down(r, stop_ns, &asked))
			return 0;
	}
}

/* Nobody parses it: blanks between the arguments are enough. */
static char *default_source(const struct recording *r)
{
	const uint64_t bytes = trace_extents_total(&r->trace.ranges) * r->trace.page_size;
	char date[64], *text = NULL;
	const time_t now = time(NULL);
	struct utsname u;
	struct tm tm;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	uname(&u);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	fprintf(f, "Linux %s %s, %llu MiB, %u CPUs, %s:", u.release, u.machine,
		(unsigned long long)(bytes >> 20), r->trace.nr_cpus, date);
	for (int i = 0; i < r->o->argc; i++)
		fprintf(f, " %s", r->o->argv[i]);
	return fclose(f) ? NULL : text;
}

/* From tracing on to tracing off. On failure, err->text is empty if the message is out already. */
static int capture_all(struct recording *r, const sigset_t *signals, struct trace_error *err)
{
	struct trace *t = &r->trace;

	if (capture_open(&r->capture, r->o->buffer_kib, err) || freepages_ranges(&t->ranges, err) ||
	    capture_start(r->capture, err))
		return -1;
	if (!r->o->no_snapshot && freepages_read(&r->before, &t->ranges, r->capture, err))
		return -1;
	if (r->o->command && child_start(r)) {
		err->text[0] = '\0';
		return -1;
	}
	if (record_loop(r, signals, err))
		return -1;
	clear_progress(r);
	/* Memory may have been plugged in; what was unplugged stays a part of the history. */
	if (freepages_ranges(&t->ranges, err))
		return -1;
	if (r->before && freepages_read(&r->after, &t->ranges, r->capture, err)) {
		tool_error("no snapshot in the trace: %s", err->text);
		freepages_free(r->after);
		r->after = NULL;
	}
	t->duration_ns = capture_now_ns(r->capture);
	return capture_stop(r->capture, err);
}

static int fill_trace(struct recording *r, struct trace_error *err)
{
	struct trace *t = &r->trace;

	r->counts = capture_counts(r->capture);
	if (capture_take(r->capture, t, err))
		return -1;
	t->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	t->nr_cpus = (uint32_t)get_nprocs_conf();
	t->lost = r->counts.lost;
	t->recorded.failed_alloc = r->counts.failed_alloc;
	for (size_t i = 0; i < t->nr_events; i++) {
		if (t->events[i].cpu >= t->nr_cpus)
			t->nr_cpus = t->events[i].cpu + 1u;
		if (t->events[i].ns > t->duration_ns)
			t->duration_ns = t->events[i].ns;
	}
	t->source = r->o->source ? strdup(r->o->source) : default_source(r);
	if (!t->source)
		return error_set(err, "out of memory");
	t->has_snapshot = r->before && r->after;
	if (!t->has_snapshot)
		return 0;
	if (freepages_to_start(r->before, t->events, t->nr_events) ||
	    freepages_to_end(r->after, t->events, t->nr_events))
		return error_set(err, "out of memory");
	return freepages_extents(r->before, &t->free_before, err) ||
	       freepages_extents(r->after, &t->free_after, err) ? -1 : 0;
}

static void summary(const struct recording *r)
{
	const struct trace *t = &r->trace;
	struct stat st = { 0 };

	stat(r->o->output, &st);
	fprintf(stderr, "fpt record: %zu events in %.1f s, %llu lost%s, %llu failed allocations "
		"left out; %s: %lld bytes, %.2f per event\n",
		t->nr_events, (double)t->duration_ns / 1e9,
		(unsigned long long)t->lost, t->lost ? " (-b KIB gives more room)" : "",
		(unsigned long long)r->counts.failed_alloc, r->o->output, (long long)st.st_size,
		t->nr_events ? (double)st.st_size / (double)t->nr_events : 0);
}

/* As a shell says it. An interrupt was the user's wish, and the trace is there. */
static int exit_status(const struct recording *r)
{
	const int status = r->child.status;

	if (!r->o->command)
		return EXIT_OK;
	if (r->child.pid) {
		tool_error("%s (pid %d) is still running", r->o->command[0], (int)r->child.pid);
		return EXIT_OK;
	}
	if (WIFSIGNALED(status)) {
		if (!r->interrupted)
			tool_error("%s was ended by signal %d (%s)", r->o->command[0],
				   WTERMSIG(status), strsignal(WTERMSIG(status)));
		return r->interrupted ? EXIT_OK : 128 + WTERMSIG(status);
	}
	if (WEXITSTATUS(status))
		tool_error("%s ended with status %d", r->o->command[0], WEXITSTATUS(status));
	return r->interrupted ? EXIT_OK : WEXITSTATUS(status);
}

/* Until the end: a signal must not keep us from tidying up and saving. */
static void block_signals(sigset_t *signals, sigset_t *old)
{
	struct sigaction hup;

	sigemptyset(signals);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGCHLD);
	/* Blocked, it would be seen in spite of nohup. */
	if (!sigaction(SIGHUP, NULL, &hup) && hup.sa_handler != SIG_IGN)
		sigaddset(signals, SIGHUP);
	sigprocmask(SIG_BLOCK, signals, old);
	/* An ignored SIGCHLD would leave nothing to wait for. */
	signal(SIGCHLD, SIG_DFL);
}

static int record(struct recording *r)
{
	struct trace_error err = { .text = "" };
	sigset_t signals, old;
	int ret;

	if (check_output(r->o->output, &err)) {
		tool_error("%s", err.text);
		return EXIT_FAILED;
	}
	block_signals(&signals, &old);
	if (r->o->command && child_fork(r, &old))
		return EXIT_FAILED;
	signal(SIGPIPE, SIG_IGN);
	/* Late readers lose events. Without permission it will do as it is. */
	setpriority(PRIO_PROCESS, 0, -10);
	ret = capture_all(r, &signals, &err);
	if (!ret)
		ret = fill_trace(r, &err);
	/* The machine gets its memory and settings back before the long work. */
	capture_close(r->capture);
	clear_progress(r);
	if (!ret)
		ret = trace_save(&r->trace, r->o->output, &err);
	if (!ret)
		summary(r);
	if (ret && *err.text)
		tool_error("%s", err.text);
	return ret ? EXIT_FAILED : exit_status(r);
}

int cmd_record(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.args_doc = "\n-- COMMAND [ARGUMENT...]",
		.doc = argp_doc,
	};
	struct options o = { .output = "fpt.trace", .argc = argc, .argv = argv };
	struct recording r = { .o = &o, .tty = isatty(STDERR_FILENO) };
	int ret;

	if (tool_parse(&argp, argc, argv, ARGP_IN_ORDER, &o))
		return EXIT_USAGE;
	if (!o.command && o.seconds <= 0)
		o.seconds = 10;
	trace_init(&r.trace);
	ret = record(&r);
	freepages_free(r.before);
	freepages_free(r.after);
	trace_destroy(&r.trace);
	return ret;
}
