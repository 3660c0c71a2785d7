//go:build pam && cgo

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pam.h"

/* The guard is a process of one thread that forks another for each login, kills
 * what is late with everything that it has started, and says so. A module can
 * block signals and stop threads of its own process; it cannot keep its parent
 * from killing it. Nobody else needs any power over either: who has asked closes
 * the stream, and all of them end. */

/* How much memory a login may take, and how long what was killed may take to go:
 * longer is what waits in the kernel for a disk or a server. */
#define MAX_MEMORY (512u << 20)
#define MAX_DYING 500 /* ms */

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* kill_children kills the processes whose parent this one is. */
static void kill_children(void)
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	if (!f)
		return;
	for (int pid; fscanf(f, "%d", &pid) == 1;)
		kill(pid, SIGKILL);
	fclose(f);
}

/* end_all kills a login and all that it has started: as the subreaper, this
 * process gets the children of those who die. It says whether all are gone. */
static int end_all(pid_t login)
{
	int64_t until = now_ms() + MAX_DYING;
	kill(login, SIGKILL);
	for (;;) {
		pid_t gone = waitpid(-1, NULL, WNOHANG);
		if (gone < 0)
			return 1; /* ECHILD */
		if (gone)
			continue;
		if (now_ms() > until)
			return 0;
		kill_children();
		poll(NULL, 0, 1);
	}
}

/* become_login is the process that PAM gets to see. It has none of the guard's
 * descriptors: what a module prints would be taken for an answer, and a program
 * that it leaves behind would keep the stream open. */
static void become_login(const struct question *q, int out)
{
	struct answer a = {LOGIN_ERROR, ""};
	pid_t guard = getppid();
	struct rlimit memory = {MAX_MEMORY, MAX_MEMORY};
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(out, 3) < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		_exit(1);
	syscall(SYS_close_range, 4, ~0u, 0);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != guard) /* it has died before */
		_exit(1);
	setsid();
	setrlimit(RLIMIT_AS, &memory);
	if (keep_capabilities(q->session ? SESSION_CAPABILITIES : LOGIN_CAPABILITIES))
		_exit(1);
	mailstead_login(q, &a);
	_exit(write(3, &a, sizeof a) != sizeof a);
}

/* say puts words into an answer of the guard's own. */
static void say(struct answer *a, const char *words, int n)
{
	a->outcome = LOGIN_ERROR;
	snprintf(a->detail, sizeof a->detail, words, n);
}

/* How waiting for an answer ends. */
enum wait { ANSWERED, LATE, SILENT, UNWANTED };

/* await waits for an answer, for the end of the time, of the process, or of
 * whoever has asked. */
static enum wait await(int control, int in, uint32_t within, struct answer *a)
{
	int64_t until = now_ms() + within;
	for (;;) {
		struct pollfd fds[] = {{in, POLLIN, 0}, {control, 0, 0}, {0, 0, 0}};
		int64_t left = until - now_ms();
		int n = left > 0 ? poll(fds, 3, left) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return LATE;
		if (fds[1].revents || fds[2].revents)
			return UNWANTED;
		if (read(in, a, sizeof *a) != sizeof *a || a->outcome > LOGIN_ERROR)
			return SILENT;
		a->detail[sizeof a->detail - 1] = 0;
		return ANSWERED;
	}
}

/* obituary says how a process has ended that gave no answer. Its descriptors are
 * closed a moment before it can be waited for. */
static void obituary(pid_t login, struct answer *a)
{
	siginfo_t end = {0};
	for (int ms = 0; ms < MAX_DYING && !end.si_pid; ms++) {
		waitid(P_PID, login, &end, WEXITED | WNOHANG | WNOWAIT);
		if (!end.si_pid)
			poll(NULL, 0, 1);
	}
	if (!end.si_pid)
		say(a, "a PAM module has closed what its answer goes through", 0);
	else if (end.si_code == CLD_EXITED)
		say(a, "a PAM module has ended its process with exit code %d", end.si_status);
	else
		say(a, "a PAM module has ended its process by signal %d", end.si_status);
}

/* attempt is one login. It gives 0 where the guard has to end: nobody listens any
 * more, or something of the login cannot be killed. */
static int attempt(int control, struct question *q)
{
	struct answer a = {LOGIN_ERROR, ""};
	int ends[2], wanted;
	if (pipe2(ends, O_CLOEXEC))
		return 0;
	pid_t login = fork();
	if (login == 0)
		become_login(q, ends[1]);
	close(ends[1]);
	explicit_bzero(q->password, sizeof q->password);
	if (login < 0)
		return 0;
	enum wait end = await(control, ends[0], q->within, &a);
	close(ends[0]);
	if (end == LATE)
		say(&a, "PAM has not answered within %d ms", q->within);
	if (end == SILENT)
		obituary(login, &a);
	wanted = end != UNWANTED && send(control, &a, sizeof a, MSG_NOSIGNAL) == sizeof a;
	return end_all(login) && wanted;
}

void mailstead_guard(int control)
{
	/* A module may stop its parent; whoever has asked then ends the parent's parent. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (;;) {
		struct question q;
		ssize_t n = recv(control, &q, sizeof q, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof q || !attempt(control, &q))
			_exit(0);
	}
}

static int guarded = -1;

int mailstead_guarded(void)
{
	return guarded;
}

int keep_capabilities(unsigned keep)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &head, data))
		return -1;
	data[0].effective &= keep;
	data[0].permitted &= keep;
	data[0].inheritable = 0;
	data[1].effective = data[1].permitted = data[1].inheritable = 0;
	return syscall(SYS_capset, &head, data);
}

/* part runs before Go has started a thread, so that the guard has only one and
 * what is given up is given up by all: no core with a password in it, no way to
 * new privileges, no capability that PAM has no use for; and of those none for
 * the part in Go, which only hands on questions. What is not there to keep is not
 * missed. */
__attribute__((constructor)) static void part(void)
{
	struct rlimit none = {0, 0};
	int ends[2];

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (keep_capabilities(SESSION_CAPABILITIES) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		_exit(1);
	switch (fork()) {
	case -1:
		_exit(1);
	case 0:
		close(ends[0]);
		mailstead_guard(ends[1]);
	}
	close(ends[1]);
	guarded = ends[0];
	if (keep_capabilities(0))
		_exit(1);
}
