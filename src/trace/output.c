/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* output.c - see output.h */
#include "trace/output.h"
#include "trace/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int output_fail(const struct output *o, struct trace_error *err, int error)
{
	return trace_fail(err, "cannot write %s: %s; %schoose another place", o->path,
			  strerror(error), o->target ? "nothing there was changed: " : "");
}

static void output_block(struct output *o)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	o->blocked = !pthread_sigmask(SIG_BLOCK, &set, &o->old_signals);
}

/*
 * Make a new name beside the target: for FD's file, or with FD -1 for a new one. Returns the file's
 * descriptor, or -1 with errno.
 */
static int output_name(struct output *o, const char *directory, int fd)
{
	char self[32];
	int ret = -1;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	for (int i = 0; i < 100; i++) {
		if (asprintf(&o->temp, "%s/.fpt-%d-%d.tmp", directory, (int)getpid(), i) < 0) {
			o->temp = NULL;
			errno = ENOMEM;
			return -1;
		}
		if (fd < 0)
			ret = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		else
			ret = linkat(AT_FDCWD, self, AT_FDCWD, o->temp, AT_SYMLINK_FOLLOW);
		if (ret >= 0)
			return fd < 0 ? ret : fd;
		free(o->temp);
		o->temp = NULL;
		if (errno != EEXIST)
			return -1;
	}
	return -1;
}

static char *output_directory(const struct output *o)
{
	const char *slash = strrchr(o->target, '/');

	if (!slash)
		return strdup(".");
	return strndup(o->target, slash == o->target ? 1 : (size_t)(slash - o->target));
}

static int output_open_beside(struct output *o)
{
	char *directory = output_directory(o);
	int error;

	if (!directory)
		return -1;
	/* Without /proc an unnamed file could not be named at the end. */
	if (!access("/proc/self/fd", X_OK))
		o->fd = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
	if (o->fd < 0) {
		output_block(o);
		o->fd = output_name(o, directory, -1);
	}
	error = errno;
	free(directory);
	errno = error;
	return o->fd < 0 ? -1 : 0;
}

int output_open(struct output *o, const char *path, struct trace_error *err)
{
	struct stat st;

	*o = (struct output){ .path = path, .fd = -1 };
	if (!strcmp(path, "-"))
		return trace_fail(err, "'-' is not a file that can be replaced; name one");
	if (stat(path, &st)) {
		if (errno != ENOENT)
			return output_fail(o, err, errno);
		o->target = strdup(path);
	} else if (S_ISDIR(st.st_mode)) {
		return output_fail(o, err, EISDIR);
	} else if (S_ISREG(st.st_mode)) {
		/* A symbolic link stays one. */
		o->target = realpath(path, NULL);
	} else {
		o->fd = open(path, O_WRONLY | O_CLOEXEC);
		return o->fd < 0 ? output_fail(o, err, errno) : 0;
	}
	if (!o->target || output_open_beside(o))
		return output_fail(o, err, errno);
	return 0;
}

int output_write(struct output *o, const void *data, size_t size, struct trace_error *err)
{
	const char *at = data;

	while (size) {
		ssize_t n = write(o->fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return output_fail(o, err, n ? errno : EIO);
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

static int output_close_fd(struct output *o)
{
	int fd = o->fd;

	o->fd = -1;
	return close(fd);
}

int output_publish(struct output *o, struct trace_error *err)
{
	if (!o->target)
		return output_close_fd(o) ? output_fail(o, err, errno) : 0;
	if (fsync(o->fd))
		return output_fail(o, err, errno);
	if (!o->temp) {
		char *directory = output_directory(o);
		int ret;

		output_block(o);
		ret = directory ? output_name(o, directory, o->fd) : -1;
		free(directory);
		if (ret < 0)
			return output_fail(o, err, errno);
	}
	if (output_close_fd(o) || rename(o->temp, o->target))
		return output_fail(o, err, errno);
	free(o->temp);
	o->temp = NULL;
	return 0;
}

void output_end(struct output *o)
{
	if (o->fd >= 0)
		close(o->fd);
	if (o->temp)
		unlink(o->temp);
	free(o->temp);
	free(o->target);
	if (o->blocked)
		pthread_sigmask(SIG_SETMASK, &o->old_signals, NULL);
}
