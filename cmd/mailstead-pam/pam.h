#include <stddef.h>
#include <stdint.h>

/* What a login through PAM has come to. */
enum outcome {
	LOGIN_OK,      /* authenticated, and the account may be used */
	LOGIN_REFUSED, /* not authenticated */
	LOGIN_EXPIRED, /* authenticated, but account or password have expired */
	LOGIN_ACCOUNT, /* authenticated, but the account may not be used here or now */
	LOGIN_ERROR    /* PAM could not tell */
};

/* question is one login, as it goes to the guard. */
struct question {
	char service[64];
	char user[512];
	char password[2048];
	char remote[64];  /* address of the client, PAM_RHOST */
	uint32_t within;  /* milliseconds until the login is cut off */
	uint32_t session; /* run the session modules too */
};

/* answer is what a login has come to; detail is a string in PAM's own words. */
struct answer {
	uint32_t outcome;
	char detail[256];
};

/* mailstead_login goes through the phases of a login. It may hang, crash and
 * fork: only a process that the guard watches calls it. */
void mailstead_login(const struct question *q, struct answer *a);

/* mailstead_guard answers the questions that come over a socket, until that or
 * standard input is closed. */
void mailstead_guard(int control);

/* mailstead_guarded is the other end of the guard's socket. */
int mailstead_guarded(void);

/* keep_capabilities gives up all of a process's capabilities but those. */
int keep_capabilities(unsigned keep);

/* What PAM modules need of root's capabilities: to read a shadow file that not
 * even its owner may read, and to write to the audit log, where libpam refuses
 * everyone if it cannot; and those of the session phase to make a home directory
 * and to set limits. */
#define LOGIN_CAPABILITIES (1u << CAP_DAC_READ_SEARCH | 1u << CAP_AUDIT_WRITE)
#define SESSION_CAPABILITIES (LOGIN_CAPABILITIES | 1u << CAP_CHOWN | 1u << CAP_FOWNER | 1u << CAP_DAC_OVERRIDE | 1u << CAP_SYS_RESOURCE)
