// What TestPrograms has a Thunderbird do, by what its own windows are made of.
const module = name => ChromeUtils.importESModule(`resource:///modules/${name}.sys.mjs`);
const { MailServices } = module("MailServices");
const flags = Ci.nsMsgFolderFlags;
const listens = (name, methods) => ({ ...methods, QueryInterface: ChromeUtils.generateQI([name]) });
const ended = (resolve, reject) => code => code ? reject(new Error("0x" + code.toString(16))) : resolve("done");

async function until(what, f) {
  for (const end = Date.now() + 60000; ; await new Promise(go => setTimeout(go, 50))) {
    const v = f();
    if (v) return v;
    if (Date.now() > end) throw new Error("there is no " + what);
  }
}
const account = user => MailServices.accounts.allServers.find(s => s.type == "imap" && s.username == user);
const folders = user => account(user).rootFolder.descendants;
const folder = (user, name) => folders(user).find(f => f.prettyName == name || name == "INBOX" && f.getFlag(flags.Inbox));
const message = (user, name, subject) => until(subject, () => [...folder(user, name).messages].find(m => m.mime2DecodedSubject == subject));
const asking = () => MailServices.mailSession.topmostMsgWindow;
const runs = start => new Promise((resolve, reject) => start(listens("nsIUrlListener", {
  OnStartRunningUrl() {}, OnStopRunningUrl: (url, code) => ended(resolve, reject)(code),
})));

// add sets an account up by what the domain of the address says of it.
async function add(address, password, change) {
  const { SuccessiveAbortable } = module("accountcreation/AccountCreationUtils").AccountCreationUtils;
  const found = await module("accountcreation/FindConfig").FindConfig.parallelAutoDiscovery(new SuccessiveAbortable(), address.split("@")[1], address);
  module("accountcreation/AccountConfig").AccountConfig.replaceVariables(found, "Somebody", address, password);
  found.incoming.password = found.outgoing.password = password;
  found.rememberPassword = true;
  Object.assign(found.incoming, change);
  await module("accountcreation/CreateInBackend").CreateInBackend.createAccountInBackend(found);
  account(found.incoming.username).performExpand(asking());
  await runs(l => folder(found.incoming.username, "INBOX").getNewMessages(asking(), l));
  await until("list of folders", () => folders(found.incoming.username).length > 1);
  return `${found.incoming.username} ${found.incoming.hostname} ${found.incoming.port}`;
}

// listed is the folders, with what the program uses them for.
const listed = user => folders(user).map(f => f.prettyName + ["Inbox", "SentMail", "Drafts", "Junk", "Trash", "Archive"].filter(use => f.getFlag(flags[use])).map(use => ":" + use).join("")).sort().join(" ");

// shown is what the program shows of a message.
async function shown(user, name, subject) {
  const m = await message(user, name, subject);
  return `${m.isRead ? "read" : "unread"} ${m.isFlagged ? "flagged" : "plain"} ${m.getStringProperty("keywords")}`.trim();
}
const becomes = async (user, name, subject, want) => {
  const m = await message(user, name, subject);
  await until(want, () => `${m.isFlagged ? "flagged" : "plain"} ${m.getStringProperty("keywords")}` == want);
  return want;
};

async function mark(user, name, subject, keywords) {
  const m = await message(user, name, subject);
  m.folder.markMessagesFlagged([m], true);
  m.folder.markMessagesRead([m], true);
  m.folder.addKeywordsToMessages([m], keywords);
}

async function text(user, name, subject) {
  const m = await message(user, name, subject);
  const uri = m.folder.getUriForMsg(m);
  const stream = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
  let data = "";
  await new Promise((resolve, reject) => MailServices.messageServiceFromURI(uri).streamMessage(uri, listens("nsIStreamListener", {
    onStartRequest() {},
    onDataAvailable(request, from, offset, n) { stream.init(from); data += stream.read(n); },
    onStopRequest: (request, code) => ended(resolve, reject)(code),
  }), null, null, false, "", false));
  return data.split("\r\n\r\n")[1].trim();
}

const copies = start => new Promise((resolve, reject) => start(listens("nsIMsgCopyServiceListener", {
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId: () => null, onStopCopy: ended(resolve, reject),
})));
const remove = async (user, name, subject) => {
  const m = await message(user, name, subject);
  return copies(l => m.folder.deleteMessages([m], asking(), false, false, l, true));
};
const move = async (user, name, subject, to) => {
  const m = await message(user, name, subject);
  return copies(l => MailServices.copy.copyMessages(m.folder, [m], folder(user, to), true, l, asking(), true));
};
async function create(user, above, name) {
  (above ? folder(user, above) : account(user).rootFolder).createSubfolder(name, asking());
  return (await until(name, () => folder(user, name))).prettyName;
}

// write sends a message ("nsMsgDeliverNow") or keeps a draft ("nsMsgSaveAsDraft"), and
// waits for the copy of it.
async function write(user, subject, mode) {
  const identity = MailServices.accounts.getFirstIdentityForServer(account(user));
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  Object.assign(fields, { from: identity.email, to: "somebody@example.org", subject, body: "grüße" });
  const sends = Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend);
  return new Promise((resolve, reject) => sends.createAndSendMessage(null, identity, MailServices.accounts.findAccountForServer(account(user)).key,
    fields, false, false, Ci.nsIMsgSend[mode], null, "text/plain", fields.body, null, null, {
      onStartSending() {}, onProgress() {}, onSendProgress() {}, onStatus() {}, onGetDraftFolderURI() {},
      onSendNotPerformed: () => reject(new Error("not sent")),
      onTransportSecurityError: (id, code) => reject(new Error("TLS " + code)),
      onStopSending: (id, code) => code && reject(new Error("not sent: 0x" + code.toString(16))),
      onStartCopy() {}, setMessageKey() {}, getMessageId: () => null, onStopCopy: ended(resolve, reject),
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener", "nsIMsgCopyServiceListener"]),
    }, "", "", Ci.nsIMsgCompType.New));
}

// search has the server search.
function search(user, name, attribute, value) {
  const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
  session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder(user, name));
  const term = session.createTerm();
  const wanted = term.value;
  wanted.attrib = term.attrib = Ci.nsMsgSearchAttrib[attribute];
  term.op = Ci.nsMsgSearchOp.Contains;
  wanted.str = value;
  term.value = wanted;
  session.appendTerm(term);
  return new Promise((resolve, reject) => {
    const hits = [];
    session.registerListener(listens("nsIMsgSearchNotify", {
      onNewSearch() {}, onSearchHit: m => hits.push(m.mime2DecodedSubject),
      onSearchDone: code => ended(() => resolve(hits.sort().join(" ")), reject)(code),
    }));
    session.search(asking());
  });
}
