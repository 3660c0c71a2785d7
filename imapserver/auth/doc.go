// Package auth decides whether credentials are those of a user. It owns the
// table of users and their hashes, the pool of mailstead-pam helpers, and the
// memory of failed logins by source and by account. Every refusal takes the
// same time and says the same, whoever was asked for; every one is logged at
// once with its address.
//
// The login package calls it, by way of handoff.Authenticator; it imports
// config, handoff and sasl, and touches neither connections nor mail nor files.
package auth
