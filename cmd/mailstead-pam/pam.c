//go:build pam && cgo

#define _GNU_SOURCE
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pam.h"

/* What a module may say and ask in one login before it is refused, and before its
 * process is ended: some do not take a refusal for an answer. */
#define MAX_MESSAGES 32
#define TOO_MANY_MESSAGES 1024

/* conversation is what PAM's modules get to know. */
struct conversation {
	const struct question *question;
	char prompt[64];     /* for the password, as it was first asked for */
	char unanswered[64]; /* what else was asked for */
	int messages;        /* in all */
};

/* give_back frees answers that PAM shall not have. */
static int give_back(struct pam_response *answers, int n)
{
	for (int i = 0; i < n; i++) {
		if (answers[i].resp)
			explicit_bzero(answers[i].resp, strlen(answers[i].resp));
		free(answers[i].resp);
	}
	free(answers);
	return PAM_CONV_ERR;
}

/* reply is what a prompt is answered with, NULL where IMAP has no answer: the name
 * to what is asked in the clear, the password to the first hidden question and to
 * the same one again, as modules that do not know of each other ask. Another hidden
 * question is for a token or for a new password. */
static const char *reply(struct conversation *c, const struct pam_message *m)
{
	const char *asked = m->msg ? m->msg : "";
	if (m->msg_style == PAM_PROMPT_ECHO_ON)
		return c->question->user;
	if (m->msg_style == PAM_PROMPT_ECHO_OFF && !c->prompt[0]) {
		snprintf(c->prompt, sizeof c->prompt, " %s", asked);
		return c->question->password;
	}
	if (m->msg_style == PAM_PROMPT_ECHO_OFF && !strncmp(c->prompt + 1, asked, sizeof c->prompt - 2))
		return c->question->password;
	snprintf(c->unanswered, sizeof c->unanswered, "%s", m->msg_style == PAM_PROMPT_ECHO_OFF ? asked : "(binary)");
	return NULL;
}

static int converse(int n, const struct pam_message **questions, struct pam_response **out, void *data)
{
	struct conversation *c = data;
	if (n <= 0 || n > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	if ((c->messages += n) > TOO_MANY_MESSAGES)
		abort();
	if (c->messages > MAX_MESSAGES)
		return PAM_CONV_ERR;
	struct pam_response *answers = calloc(n, sizeof *answers);
	if (!answers)
		return PAM_BUF_ERR;
	for (int i = 0; i < n; i++) {
		if (questions[i]->msg_style == PAM_ERROR_MSG || questions[i]->msg_style == PAM_TEXT_INFO)
			continue;
		const char *text = reply(c, questions[i]);
		if (!text || !(answers[i].resp = strdup(text)))
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
	case PAM_MAXTRIES:
		return LOGIN_ACCOUNT;
	default:
		return LOGIN_ERROR;
	}
}

/* of_session takes what a module has against a session for a word about the
 * account: it says it of each. */
static enum outcome of_session(int status)
{
	switch (status) {
	case PAM_SUCCESS:
		return LOGIN_OK;
	case PAM_CRED_EXPIRED:
		return LOGIN_EXPIRED;
	case PAM_PERM_DENIED:
	case PAM_SESSION_ERR:
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

/* prepare tells the modules what is known of the client. Its name over there
 * (PAM_RUSER) is not. */
static int prepare(pam_handle_t *h, const char *remote)
{
	int status = pam_set_item(h, PAM_RHOST, remote);
	if (status == PAM_SUCCESS)
		status = pam_set_item(h, PAM_TTY, "imap");
	if (status == PAM_SUCCESS)
		status = pam_set_item(h, PAM_FAIL_DELAY, (const void *)no_delay);
	return status;
}

/* session opens a session and closes it at once. Nothing that PAM could set in this
 * process would reach the one that serves the mail, and a session that lasted as long
 * as the connection would keep a process of root's for each. */
static int session(pam_handle_t *h, const char **phase)
{
	*phase = "credentials";
	int status = pam_setcred(h, PAM_ESTABLISH_CRED | PAM_SILENT);
	if (status != PAM_SUCCESS)
		return status;
	*phase = "session";
	status = pam_open_session(h, PAM_SILENT);
	if (status == PAM_SUCCESS)
		pam_close_session(h, PAM_SILENT);
	pam_setcred(h, PAM_DELETE_CRED | PAM_SILENT);
	return status;
}

void mailstead_login(const struct question *q, struct answer *a)
{
	struct conversation c = {.question = q};
	struct pam_conv conv = {converse, &c};
	pam_handle_t *h = NULL;
	const char *phase = "start";

	a->outcome = LOGIN_ERROR;
	int status = pam_start(q->service, q->user, &conv, &h);
	if (status == PAM_SUCCESS)
		status = prepare(h, q->remote);
	if (status == PAM_SUCCESS) {
		phase = "authenticate";
		status = pam_authenticate(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
		a->outcome = of_authenticate(status);
	}
	if (a->outcome == LOGIN_OK) {
		phase = "account";
		status = pam_acct_mgmt(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
		a->outcome = of_account(status);
	}
	if (a->outcome == LOGIN_OK && !same_user(h, q->user)) {
		status = PAM_PERM_DENIED;
		a->outcome = LOGIN_REFUSED;
		phase = "another user than the one who was asked about";
	}
	if (a->outcome == LOGIN_OK && q->session)
		a->outcome = of_session(status = session(h, &phase));
	snprintf(a->detail, sizeof a->detail, "%s: %s", phase, pam_strerror(h, status));
	if (a->outcome != LOGIN_OK && c.unanswered[0]) {
		a->outcome = LOGIN_REFUSED;
		snprintf(a->detail, sizeof a->detail, "%s: a module asks for more than name and password: %s", phase, c.unanswered);
	}
	if (h)
		pam_end(h, status);
}
