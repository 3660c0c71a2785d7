/* A PAM module that does to its process whatever its argument says, or else the
 * name of the user. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <pthread.h>
#include <security/pam_modules.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask(pam_handle_t *h, int style, const char *text, char **answer)
{
	const struct pam_conv *conv = NULL;
	struct pam_message m = {style, text};
	const struct pam_message *p = &m;
	struct pam_response *r = NULL;
	if (pam_get_item(h, PAM_CONV, (const void **)&conv) != PAM_SUCCESS)
		return PAM_CONV_ERR;
	int status = conv->conv(1, &p, &r, conv->appdata_ptr);
	if (answer)
		*answer = r ? r->resp : NULL;
	return status;
}

static void *sleeper(void *unused)
{
	(void)unused;
	while (1)
		sleep(60);
	return NULL;
}

/* hang cannot be interrupted by anything that its process may see. */
static void hang(void)
{
	pthread_t other;
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (int s = 1; s < 65; s++)
		signal(s, SIG_IGN);
	pthread_create(&other, NULL, sleeper, NULL);
	sleeper(NULL);
}

/* brood leaves processes behind that nobody waits for, in sessions of their own. */
static void brood(void)
{
	for (int i = 0; i < 5; i++) {
		if (fork() == 0) {
			setsid();
			if (fork() == 0)
				execlp("sleep", "mstest-brood", "600", NULL);
			hang();
		}
	}
}

/* dial asks a server, as modules of Kerberos or RADIUS do. */
static int dial(void)
{
	struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(1812), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server))
		return PAM_AUTHINFO_UNAVAIL;
	close(fd);
	return PAM_SUCCESS;
}

static int misbehave(pam_handle_t *h, const char *what)
{
	char *answer = NULL, *again = NULL;
	if (!strcmp(what, "hang"))
		hang();
	if (!strcmp(what, "exit"))
		exit(0);
	if (!strcmp(what, "quick"))
		_exit(7);
	if (!strcmp(what, "segv"))
		*(volatile int *)8 = 1;
	if (!strcmp(what, "abort"))
		abort();
	if (!strcmp(what, "brood"))
		brood();
	if (!strcmp(what, "parent"))
		kill(getppid(), SIGKILL), hang();
	if (!strcmp(what, "stop"))
		kill(getppid(), SIGSTOP), hang();
	if (!strcmp(what, "group"))
		kill(0, SIGKILL);
	if (!strcmp(what, "close"))
		closefrom(0), hang();
	if (!strcmp(what, "memory"))
		for (;;)
			if (mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
				return PAM_BUF_ERR;
	if (!strcmp(what, "noise"))
		for (int fd = 0; fd < 64; fd++)
			for (int i = 0; i < 8; i++)
				dprintf(fd, "%c%c%c%c{\"result\":\"ok\"}", 0, 0, 0, 15);
	if (!strcmp(what, "flood"))
		for (;;)
			ask(h, PAM_TEXT_INFO, "\r\n\033[2J%n%s flood", NULL);
	if (!strcmp(what, "chatter"))
		for (int i = 0; i < 40; i++)
			if (ask(h, PAM_ERROR_MSG, "chatter", NULL) != PAM_SUCCESS)
				return PAM_CONV_ERR;
	if (!strcmp(what, "binary"))
		return ask(h, 7, "binary", NULL) == PAM_SUCCESS ? PAM_SUCCESS : PAM_CONV_ERR;
	if (!strcmp(what, "dial"))
		return dial();
	if (!strcmp(what, "rename"))
		return pam_set_item(h, PAM_USER, "root");
	if (ask(h, PAM_PROMPT_ECHO_ON, "login: ", &answer) != PAM_SUCCESS || strcmp(answer, what))
		return PAM_AUTH_ERR;
	if (ask(h, PAM_PROMPT_ECHO_OFF, "Password: ", &answer) != PAM_SUCCESS)
		return PAM_CONV_ERR;
	if (!strcmp(what, "again") && (ask(h, PAM_PROMPT_ECHO_OFF, "Password: ", &again) != PAM_SUCCESS || strcmp(answer, again)))
		return PAM_CONV_ERR;
	if (!strcmp(what, "token") && ask(h, PAM_PROMPT_ECHO_OFF, "One-time token: ", NULL) != PAM_SUCCESS)
		return PAM_CONV_ERR;
	return strcmp(answer, "swordfish") ? PAM_AUTH_ERR : PAM_SUCCESS;
}

/* phase does what a user is named for who is named for that phase. */
static int phase(pam_handle_t *h, const char *name, int good)
{
	const char *user = NULL;
	size_t n = strlen(name);
	if (pam_get_user(h, &user, NULL) != PAM_SUCCESS)
		return PAM_SERVICE_ERR;
	if (!strncmp(user, name, n) && user[n] == '-')
		return misbehave(h, user + n + 1);
	return good;
}

int pam_sm_authenticate(pam_handle_t *h, int flags, int argc, const char **argv)
{
	const char *user = NULL;
	(void)flags;
	if (argc)
		return misbehave(h, argv[0]);
	if (pam_get_user(h, &user, NULL) != PAM_SUCCESS)
		return PAM_SERVICE_ERR;
	return strchr(user, '-') ? PAM_SUCCESS : misbehave(h, user);
}

/* what is the answer of a phase to a user who is named for it with that answer. */
static int what(pam_handle_t *h, const char *name)
{
	static const struct { const char *name; int status; } words[] = {
		{"expired", PAM_ACCT_EXPIRED}, {"newtoken", PAM_NEW_AUTHTOK_REQD}, {"denied", PAM_PERM_DENIED},
		{"error", PAM_SESSION_ERR}, {"stale", PAM_CRED_EXPIRED}, {"broken", PAM_SYSTEM_ERR},
	};
	const char *user = NULL;
	size_t n = strlen(name);
	if (pam_get_user(h, &user, NULL) != PAM_SUCCESS)
		return PAM_SERVICE_ERR;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strncmp(user, name, n) && user[n] == '-' && !strcmp(user + n + 1, words[i].name))
			return words[i].status;
	return phase(h, name, PAM_SUCCESS);
}

int pam_sm_acct_mgmt(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)flags, (void)argc, (void)argv;
	return what(h, "account");
}

int pam_sm_setcred(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)argc, (void)argv;
	return flags & PAM_ESTABLISH_CRED ? what(h, "cred") : PAM_SUCCESS;
}

int pam_sm_open_session(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)flags, (void)argc, (void)argv;
	return what(h, "session");
}

int pam_sm_close_session(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)flags, (void)argc, (void)argv;
	return phase(h, "close", PAM_SUCCESS);
}
