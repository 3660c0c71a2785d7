// Package handoff is the few messages that the daemon's roles say to each
// other (login, auth, spawn and the workers), and the channel that carries them and descriptors between
// processes. Where two roles share a process, they hand each other the same
// messages by an ordinary call: see Opener and Authenticator.
//
//	login      --Open-->    auth, spawn  --Session--> worker
//	           <--Opened--               <--Idle--
//	           --Hangs-->                --Stop-->
//	           --Connect--> <--Connected--  --Abort-->
//	           <--Settings--
//	           --Ready-->
//	           <--Query--  --State-->
//	           <--Watch--             --Look-->  (on whose channel: Doing, Told, Traced)
//	           <--Board--  <--Boards--  <--Visit--
//	           --Told-->
//	           --NeedHelper--> <--Helper--  --EndHelper-->
//
// An import that systemd has started has no network: it says Reach and Connect to who
// has one.
//
// A message is one packet: a line with its version and kind, and JSON, of at most
// MaxPacket octets, with at most MaxFiles descriptors; what may be larger
// travels as a sealed memory file. Both ends are the same build of the same
// program; the checks are there because a role may have been taken over by a
// client. The package imports nothing of the project.
package handoff
