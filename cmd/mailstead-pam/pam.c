//go:build pam && cgo

#define _GNU_SOURCE
#include <linux/capability.h>
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pam.h"

/* What a module may say and ask in one login before it is cut off. */
#define MAX_MESSAGES 32

/* conversation is what PAM's modules get to know. */
struct conversation {
	const char *user;
	const char *password;
	int asked;    /* for the password */
	int messages; /* in all */
};

/* give_back frees answers that PAM shall not have. */
static int give_back(struct pam_response *answers, int n)
{
	for (int i = 0; i < n; i++) {
		if (answers[i].resp)
			wipe(answers[i].resp);
		free(answers[i].resp);
	}
	free(answers);
	return PAM_CONV_ERR;
}

/* converse gives the password to the first who asks for something hidden, and
 * the name to whoever asks in the clear. A second hidden question is for a new
 * password or for a token: IMAP has no answer to that. */
static int converse(int n, const struct pam_message **questions, struct pam_response **out, void *data)
{
	struct conversation *c = data;
	if (n <= 0 || n > PAM_MAX_NUM_MSG || (c->messages += n) > MAX_MESSAGES)
		return PAM_CONV_ERR;
	struct pam_response *answers = calloc(n, sizeof *answers);
	if (!answers)
		return PAM_BUF_ERR;
	for (int i = 0; i < n; i++) {
		const char *text = NULL;
		switch (questions[i]->msg_style) {
		case PAM_PROMPT_ECHO_OFF:
			if (c->asked++)
				return give_back(answers, n);
			text = c->password;
			break;
		case PAM_PROMPT_ECHO_ON:
			text = c->user;
			break;
		case PAM_ERROR_MSG:
		case PAM_TEXT_INFO:
			continue;
		default:
			return give_back(answers, n);
		}
		if (!(answers[i].resp = strdup(text)))
			return give_back(answers, n);
	}
	*out = answers;
	return PAM_SUCCESS;
}

/* no_delay is PAM's delay after a failure. The daemon has its own, in which no
 * helper is kept busy: with PAM's, a few wrong passwords a second would keep
 * everyone else waiting. */
static void no_delay(int status, unsigned microseconds, void *data)
{
	(void)status;
	(void)microseconds;
	(void)data;
}

static enum outcome of_authenticate(int status)
{
	switch (status) {
	case PAM_SUCCESS:
		return LOGIN_OK;
	case PAM_AUTH_ERR:
	case PAM_USER_UNKNOWN:
	case PAM_CRED_INSUFFICIENT:
	case PAM_MAXTRIES:
	case PAM_PERM_DENIED:
	case PAM_ACCT_EXPIRED:
		return LOGIN_REFUSED;
	default:
		return LOGIN_ERROR;
	}
}

static enum outcome of_account(int status)
{
	switch (status) {
	case PAM_SUCCESS:
		return LOGIN_OK;
	case PAM_NEW_AUTHTOK_REQD:
	case PAM_AUTHTOK_EXPIRED:
	case PAM_ACCT_EXPIRED:
		return LOGIN_EXPIRED;
	case PAM_PERM_DENIED:
	case PAM_AUTH_ERR:
	case PAM_USER_UNKNOWN:
		return LOGIN_ACCOUNT;
	default:
		return LOGIN_ERROR;
	}
}

/* same_user says whether the modules have logged in who was asked for: they may
 * change the name, and the mailbox goes by the old one. */
static int same_user(pam_handle_t *h, const char *user)
{
	const void *now = NULL;
	return pam_get_item(h, PAM_USER, &now) == PAM_SUCCESS && now && !strcmp(now, user);
}

static int prepare(pam_handle_t *h, const char *remote)
{
	int status = pam_set_item(h, PAM_RHOST, remote);
	if (status == PAM_SUCCESS)
		status = pam_set_item(h, PAM_TTY, "imap");
	if (status == PAM_SUCCESS)
		status = pam_set_item(h, PAM_FAIL_DELAY, (const void *)no_delay);
	return status;
}

enum outcome mailstead_login(const char *service, const char *user, const char *password,
	const char *remote, char *detail, size_t size)
{
	struct conversation c = {user, password, 0, 0};
	struct pam_conv conv = {converse, &c};
	pam_handle_t *h = NULL;
	const char *phase = "start";
	enum outcome outcome = LOGIN_ERROR;

	int status = pam_start(service, user, &conv, &h);
	if (status == PAM_SUCCESS)
		status = prepare(h, remote);
	if (status == PAM_SUCCESS) {
		phase = "authenticate";
		status = pam_authenticate(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
		outcome = of_authenticate(status);
	}
	if (outcome == LOGIN_OK) {
		phase = "account";
		status = pam_acct_mgmt(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
		outcome = of_account(status);
	}
	snprintf(detail, size, "%s: %s", phase, pam_strerror(h, status));
	if (outcome == LOGIN_OK && !same_user(h, user)) {
		snprintf(detail, size, "account: PAM has logged in another user");
		outcome = LOGIN_REFUSED;
	}
	if (h)
		pam_end(h, status);
	return outcome;
}

void wipe(char *s)
{
	explicit_bzero(s, strlen(s));
}

/* give_up runs before Go has started a thread, so that it holds for all of
 * them: no core with a password in it, no way to new privileges, and of root's
 * capabilities only those to read a shadow file that not even its owner may
 * read, and to write to the audit log, where libpam refuses everyone if it
 * cannot. What is not there to keep is not missed. */
__attribute__((constructor)) static void give_up(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	struct rlimit none = {0, 0};
	unsigned keep = 1u << CAP_DAC_READ_SEARCH | 1u << CAP_AUDIT_WRITE;

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capget, &head, data))
		_exit(1);
	data[0].effective &= keep;
	data[0].permitted &= keep;
	data[0].inheritable = 0;
	data[1].effective = data[1].permitted = data[1].inheritable = 0;
	if (syscall(SYS_capset, &head, data))
		_exit(1);
}
