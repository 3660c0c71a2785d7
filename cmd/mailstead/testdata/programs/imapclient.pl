# What TestPrograms does with Perl's Mail::IMAPClient, of which imapsync is made.
use strict;
use warnings;
use Mail::IMAPClient;

my $c = Mail::IMAPClient->new(
	Server => "mail.example.org", Port => 143, User => $ARGV[0], Password => $ARGV[1], Uid => 1, Compress => 1,
	Starttls => [SSL_ca_file => "/root/ca.pem", SSL_verifycn_name => "mail.example.org"], Authmechanism => "PLAIN",
) or die $@;
sub want { my ($ok, $what) = @_; die "$what: " . ($c->LastError // "") unless $ok; $ok }

want((grep { $_ eq "Papierkorb" } $c->folders), "folders");
want($c->select("INBOX"), "select");
my ($m) = $c->search('SUBJECT "perl1"');
want($m && $c->body_string($m) =~ /^body of perl1\r?\n$/, "body");
want($c->get_bodystructure($m)->bodytype eq "TEXT", "structure");
want($c->get_envelope($m)->subject eq "perl1", "envelope");
my $new = want($c->append_string("INBOX", "Subject: perl2\r\n\r\nx\r\n", '\Seen'), "append");
want($c->set_flag("work", $new), "store");
want(join(" ", sort grep { !/Recent/ } $c->flags($new)) eq '\Seen work', "flags");
want(scalar(@{$c->thread("REFERENCES", "UTF-8", "ALL")}) >= 2, "thread");
want(join(",", $c->sort("REVERSE SUBJECT", "UTF-8", "SUBJECT perl")) eq "$new,$m", "sort");
my $idle = want($c->idle, "idle");
want($c->done($idle), "done");
want($c->move("Papierkorb", $new) && $c->expunge, "move");
want($c->create("Perl.unten") && $c->rename("Perl.unten", "Perl.oben") && $c->delete("Perl.oben"), "folder");
want($c->logout, "logout");
