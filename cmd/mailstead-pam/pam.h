#include <stddef.h>

/* What a login through PAM has come to. */
enum outcome {
	LOGIN_OK,      /* authenticated, and the account may be used */
	LOGIN_REFUSED, /* not authenticated */
	LOGIN_EXPIRED, /* authenticated, but account or password have expired */
	LOGIN_ACCOUNT, /* authenticated, but the account may not be used here or now */
	LOGIN_ERROR    /* PAM could not tell */
};

/* mailstead_login goes through the authentication and the account phase, and
 * puts PAM's own words about the outcome into detail. */
enum outcome mailstead_login(const char *service, const char *user, const char *password,
	const char *remote, char *detail, size_t size);

/* wipe overwrites a string. */
void wipe(char *s);
