package transfer

import (
	"mime"
	"net/mail"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// gmailLabel is a label that Gmail gives by itself.
type gmailLabel int

const (
	ownLabel gmailLabel = iota // one that the user has made
	labelInbox
	labelSent
	labelDrafts
	labelTrash
	labelSpam
	labelStarred
	labelUnread
	labelOpened
	labelImportant
	labelArchived
	labelChat
	labelMuted
	labelCategory // by how it begins
)

// gmailLanguages are what Takeout calls Gmail's labels, in the language that the account has
// when the archive is made: a row for each, in the order of the constants above. Google has
// changed some over the years, and parts the sexes of others: "|" parts what they are called.
var gmailLanguages = [][]string{
	{"Inbox", "Sent|Sent Mail", "Drafts|Draft", "Trash|Bin", "Spam", "Starred", "Unread", "Opened", "Important", "Archived", "Chat|Chats", "Muted", "Category "},
	{"Posteingang", "Gesendet", "Entwürfe|Entwurf", "Papierkorb", "Spam", "Markiert", "Ungelesen", "Geöffnet", "Wichtig", "Archiviert", "Chat|Chats", "Ignoriert|Stummgeschaltet", "Kategorie:"},
	{"Boîte de réception", "Envoyé|Envoyés|Messages envoyés", "Brouillons|Brouillon", "Corbeille", "Spam|Pourriel", "Suivis|Suivi|Messages suivis|Favoris", "Non lus|Non lu|Messages non lus", "Ouvert|Ouverts|Messages ouverts", "Important|Importants|Messages importants", "Archivés|Archivé|Messages archivés", "Chat|Chats", "Ignorés|Ignoré", "Catégorie :|Catégorie:"},
	{"Recibidos|Bandeja de entrada", "Enviados|Enviado", "Borradores|Borrador", "Papelera", "Spam|Correo no deseado", "Destacados|Destacado", "No leídos|No leído|Sin leer", "Abiertos|Abierto", "Importantes|Importante", "Archivados|Archivado", "Chat|Chats", "Silenciados|Silenciado|Ignorados", "Categoría:|Categoría "},
	{"Posta in arrivo", "Inviati|Inviato|Inviata|Posta inviata", "Bozze|Bozza", "Cestino", "Spam", "Speciali|Speciale", "Da leggere|Non letti|Non letto", "Aperti|Aperto|Già letti", "Importanti|Importante", "Archiviati|Archiviato", "Chat", "Ignorati|Silenziati", "Categoria:|Categoria "},
	{"Inbox|Postvak IN", "Verzonden", "Concepten|Concept", "Prullenbak", "Spam", "Met ster", "Ongelezen", "Geopend", "Belangrijk", "Gearchiveerd", "Chat|Chats", "Genegeerd", "Categorie:|Categorie "},
	{"Caixa de entrada|Entrada", "Enviados|Enviado|E-mails enviados", "Rascunhos|Rascunho", "Lixeira", "Spam", "Com estrela|Marcados com estrela", "Não lidos|Não lido|Não lidas", "Abertos|Aberto|Abertas", "Importante|Importantes", "Arquivados|Arquivado|Arquivadas", "Chat|Chats|Bate-papos", "Ignorados|Silenciados", "Categoria:|Categoria "},
	{"Caixa de entrada|Recebidos", "Enviados|Enviado|Correio enviado", "Rascunhos|Rascunho", "Lixo|Reciclagem|Caixote do lixo", "Spam", "Com estrela|Marcados com estrela", "Não lidos|Não lido|Não lidas", "Abertos|Aberto|Abertas", "Importante|Importantes", "Arquivados|Arquivado|Arquivadas", "Chat|Chats", "Ignorados|Silenciados", "Categoria:|Categoria "},
	{"Odebrane", "Wysłane", "Wersje robocze|Robocze", "Kosz", "Spam", "Oznaczone gwiazdką", "Nieprzeczytane", "Otwarte|Otworzone", "Ważne", "Zarchiwizowane", "Czat|Czaty", "Wyciszone|Ignorowane", "Kategoria:|Kategoria "},
	{"Inkorgen|Inkorg", "Skickat|Skickade|Skickade mail", "Utkast", "Papperskorgen|Papperskorg", "Skräppost|Spam", "Stjärnmärkt|Stjärnmärkta", "Oläst|Olästa", "Öppnat|Öppnad|Öppnade", "Viktigt|Viktiga", "Arkiverat|Arkiverad|Arkiverade", "Chatt|Chattar", "Ignorerat|Ignorerade", "Kategori:|Kategori "},
	{"Indbakke", "Sendt|Sendte mails", "Kladder|Kladde", "Papirkurv", "Spam", "Stjernemarkeret|Stjernemarkerede|Med stjerne", "Ulæst|Ulæste", "Åbnet|Åbnede", "Vigtigt|Vigtig|Vigtige", "Arkiveret|Arkiverede", "Chat|Chats", "Ignoreret|Ignorerede", "Kategori:|Kategori "},
	{"Innboks", "Sendt|Sendt e-post", "Utkast", "Papirkurv|Søppel", "Søppelpost|Spam", "Stjernemerket|Med stjerne", "Ulest|Uleste", "Åpnet|Åpnede", "Viktig|Viktige", "Arkivert|Arkiverte", "Nettprat|Chat", "Ignorert|Ignorerte", "Kategori:|Kategori "},
	{"Saapuneet|Postilaatikko", "Lähetetyt", "Luonnokset", "Roskakori", "Roskaposti", "Tähdellä merkityt|Tähdellä merkitty|Tähdelliset", "Lukemattomat|Lukematon|Lukematta", "Avatut|Avattu", "Tärkeät|Tärkeä", "Arkistoidut|Arkistoitu", "Chat|Chatit|Keskustelut", "Ohitetut|Mykistetty", "Luokka:|Luokka "},
	{"Doručená pošta|Doručené", "Odeslaná pošta|Odeslané|Odesláno", "Koncepty|Koncept", "Koš", "Spam", "S hvězdičkou", "Nepřečtené|Nepřečteno", "Otevřeno|Otevřené", "Důležité", "Archivováno|Archivované", "Chat|Chaty", "Ignorované|Ignorováno", "Kategorie:"},
	{"Входящие", "Отправленные", "Черновики", "Корзина", "Спам", "Помеченные", "Непрочитанные|Непрочитанное", "Открытые|Открыто|Открытое", "Важное|Важные", "Архивированные|Архивировано|В архиве", "Чаты|Чат", "Игнорируемые|Игнорируется", "Категория:|Категория "},
	{"Вхідні", "Надіслані", "Чернетки", "Кошик", "Спам", "Із зірочкою|Позначені зірочкою", "Непрочитані|Непрочитане", "Відкриті|Відкрито|Відкрите", "Важливі|Важливо|Важливе", "Архівовані|Архівовано|Заархівовано", "Чат|Чати", "Ігноровані|Ігнорується", "Категорія:|Категорія "},
	{"Gelen Kutusu|Gelen kutusu", "Gönderilmiş Postalar|Gönderilmiş|Gönderilenler|Gönderildi", "Taslaklar|Taslak", "Çöp Kutusu|Çöp kutusu", "Spam", "Yıldızlı", "Okunmamış|Okunmadı", "Açıldı|Açılmış", "Önemli", "Arşivlendi|Arşivlenmiş|Arşivlenen", "Sohbet|Sohbetler", "Yoksayıldı|Yoksayılan", "Kategori:|Kategori "},
	{"受信トレイ", "送信済み|送信済みメール", "下書き", "ゴミ箱", "迷惑メール", "スター付き", "未読", "開封済み|既読", "重要", "アーカイブ済み|アーカイブ", "チャット", "ミュート", "カテゴリ"},
	{"받은편지함", "보낸편지함", "임시보관함", "휴지통", "스팸함|스팸", "별표편지함|별표 편지함", "읽지않음|읽지 않음|안읽은 편지함|안읽음", "열림|열어봄|열람함|읽음", "중요편지함|중요", "보관됨|보관 처리됨|보관처리됨", "채팅", "숨김|무시됨", "카테고리"},
	{"收件箱", "已发邮件|已发送|已发送邮件", "草稿", "已删除邮件|回收站", "垃圾邮件", "已加星标", "未读|未读邮件", "已打开|打开", "重要|重要邮件", "已归档|归档", "聊天", "已忽略", "类别|分类："},
	{"收件匣", "寄件備份|已傳送", "草稿", "垃圾桶", "垃圾郵件", "已加星號", "未讀取|未讀|未讀郵件", "已開啟|開啟", "重要|重要郵件", "已封存|封存", "即時通訊|聊天", "已忽略|忽略", "類別|分類："},
}

// gmailWords are the words of a language.
type gmailWords struct {
	labels     map[string]gmailLabel
	categories []string
}

func wordsOf(row []string) gmailWords {
	w := gmailWords{labels: map[string]gmailLabel{}}
	for i, names := range row {
		label := gmailLabel(i + 1)
		for name := range strings.SplitSeq(names, "|") {
			if label == labelCategory {
				w.categories = append(w.categories, name)
			} else {
				w.labels[name] = label
			}
		}
	}
	return w
}

// of says what a label means.
func (w gmailWords) of(label string) gmailLabel {
	label = strings.ReplaceAll(label, "\u00a0", " ") // which French has before a colon
	if l := w.labels[label]; l != ownLabel {
		return l
	}
	if slices.ContainsFunc(w.categories, func(c string) bool { return strings.HasPrefix(label, c) }) {
		return labelCategory
	}
	return ownLabel
}

// wordsFor finds the language of an archive by the labels in it, each with how many messages
// have it. A user may have called a label of their own what Gmail calls one of its own in another
// language: so only one language counts, the one that most labels are of.
func wordsFor(labels map[string]int) gmailWords {
	var best gmailWords
	most := -1
	for _, row := range gmailLanguages {
		w, n := wordsOf(row), 0
		for label, times := range labels {
			if w.of(label) != ownLabel {
				n += times
			}
		}
		if n > most {
			best, most = w, n
		}
	}
	return best
}

// labelled says where a message with these labels goes: it may have several and is to be
// in one place.
func (w gmailWords) labelled(labels []string) Mailbox {
	for _, use := range []struct {
		label gmailLabel
		name  string
		use   imap.MailboxAttr
	}{
		{labelTrash, "Trash", imap.MailboxAttrTrash}, {labelSpam, "Junk", imap.MailboxAttrJunk},
		{labelDrafts, "Drafts", imap.MailboxAttrDrafts}, {labelInbox, "INBOX", ""},
	} {
		if w.has(labels, use.label) {
			return Mailbox{Levels: []string{use.name}, Use: use.use}
		}
	}
	for _, l := range labels {
		if w.of(l) == ownLabel {
			return Mailbox{Levels: strings.Split(l, "/")}
		}
	}
	if w.has(labels, labelSent) {
		return Mailbox{Levels: []string{"Sent"}, Use: imap.MailboxAttrSent}
	}
	return Mailbox{Levels: []string{"Archive"}, Use: imap.MailboxAttrArchive}
}

func (w gmailWords) has(labels []string, label gmailLabel) bool {
	return slices.ContainsFunc(labels, func(l string) bool { return w.of(l) == label })
}

// flags are those that labels tell.
func (w gmailWords) flags(labels []string) (flags []imap.Flag) {
	for _, f := range []struct {
		flag imap.Flag
		on   bool
	}{
		{imap.FlagSeen, !w.has(labels, labelUnread)},
		{imap.FlagFlagged, w.has(labels, labelStarred)},
		{imap.FlagDraft, w.has(labels, labelDrafts)},
	} {
		if f.on {
			flags = append(flags, f.flag)
		}
	}
	return flags
}

// gmailField is the field with the labels of a message from Takeout.
const gmailField = "X-Gmail-Labels"

// gmail gives the labels of a message from Takeout; nil of any other.
func gmail(h mail.Header) (labels []string) {
	for _, field := range h[gmailField] {
		text, err := new(mime.WordDecoder).DecodeHeader(field)
		if err != nil {
			text = field
		}
		labels = append(labels, splitLabels(text)...)
	}
	return labels
}

// splitLabels parts labels by commas. One that has a comma in it stands in quotes, where a
// quote is doubled.
func splitLabels(text string) (labels []string) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		label, rest, quoted := quotedLabel(text)
		if !quoted {
			label, rest, _ = strings.Cut(text, ",")
		}
		if label = strings.TrimSpace(label); label != "" {
			labels = append(labels, label)
		}
		text = rest
	}
	return labels
}

// quotedLabel reads a label in quotes, which a comma or the end follows.
func quotedLabel(text string) (label, rest string, ok bool) {
	if text[0] != '"' {
		return "", "", false
	}
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		if strings.HasPrefix(text[i+1:], `"`) {
			i++
			continue
		}
		rest = strings.TrimLeft(text[i+1:], " ")
		if rest != "" && rest[0] != ',' {
			return "", "", false
		}
		return strings.ReplaceAll(text[1:i], `""`, `"`), strings.TrimPrefix(rest, ","), true
	}
	return "", "", false
}
