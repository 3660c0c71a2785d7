// Package adopt reads how a mail host was set up before: the files of
// Courier-IMAP, imapproxy and certbot, or the output of Dovecot's doveconf,
// and makes a description of it that loads. It runs nothing and writes nothing:
// files come in as an fs.FS, what was found of Maildirs as values, and text goes
// out. Every value keeps the file and line that it came from.
//
// One table (options) holds every option of those programs with what becomes of
// it; docs/courier.md is made of it. `mailstead adopt` and `cutover` call this
// package. It must not import reconcile or render.
package adopt
