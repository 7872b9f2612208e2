package session

// textID names a text for people. Texts are formats.
type textID int

const (
	textNone textID = iota
	textArguments
	textAuthFailed
	textBeginTLS
	textBye
	textCapabilities
	textCommitFailed
	textCorrupt
	textDeleted
	textDisabled
	textGone
	textIdle
	textInUse
	textLanguage
	textLanguages
	textLeaseLost
	textListing
	textMaildrop
	textMalformed
	textMechanism
	textNeedTLS
	textNoLanguage
	textNoMaildrop
	textNoMessage
	textNoSTLS
	textNoop
	textOctets
	textPassword
	textShutdown
	textSyntax
	textThrottled
	textTooLong
	textTooManyBad
	textTooSoon
	textTop
	textUTF8
	textUnavailable
	textUnknown
	textWrongState
	textCount // the number of texts
)

// language is a set of texts and its tag (RFC 5646).
type language struct {
	tag, name string
	texts     *[textCount]string
}

// languages that LANG offers. The first is the one without LANG (RFC 2277 section 4.5).
var languages = []language{
	{"i-default", "Default (English)", &english},
	{"en", "English", &english},
	{"ja", "日本語", &japanese},
}

var english = [textCount]string{
	textArguments:    "wrong arguments",
	textAuthFailed:   "user name or password is wrong",
	textBeginTLS:     "begin TLS negotiation",
	textBye:          "bye",
	textCapabilities: "capability list follows",
	textCommitFailed: "the messages could not be deleted, please try again",
	textCorrupt:      "the stored message is damaged, please tell your administrator",
	textDeleted:      "message %d deleted",
	textDisabled:     "the account is disabled",
	textGone:         "message %d is no longer there, another client has removed it",
	textIdle:         "silent for too long, nothing was deleted",
	textInUse:        "another session holds the maildrop",
	textLanguage:     "texts will be in English",
	textLanguages:    "language listing follows",
	textLeaseLost:    "the maildrop was lost, nothing was deleted, please try again",
	textListing:      "%d messages (%d octets)",
	textMaildrop:     "maildrop has %d messages (%d octets)",
	textMalformed:    "authentication exchange failed",
	textMechanism:    "unknown authentication mechanism",
	textNeedTLS:      "passwords are not allowed without TLS",
	textNoLanguage:   "language is not supported",
	textNoMaildrop:   "there is no maildrop",
	textNoMessage:    "no such message",
	textNoSTLS:       "TLS is active already or is not offered",
	textNoop:         "at your service",
	textOctets:       "%d octets",
	textPassword:     "send the password",
	textShutdown:     "server is going down, nothing was deleted, please try again",
	textSyntax:       "syntax error",
	textThrottled:    "too many failed logins, please try again later",
	textTooLong:      "line is too long",
	textTooManyBad:   "too many bad commands",
	textTooSoon:      "minimum time between logins has not passed",
	textTop:          "top of message follows",
	textUTF8:         "UTF-8 is welcome",
	textUnavailable:  "not possible now, please try again later",
	textUnknown:      "unknown command",
	textWrongState:   "not possible in this state",
}

var japanese = [textCount]string{ //nolint:gosec // G101: texts about passwords, not passwords
	textArguments:    "引数が正しくありません",
	textAuthFailed:   "ユーザー名またはパスワードが違います",
	textBeginTLS:     "TLSを開始してください",
	textBye:          "終了します",
	textCapabilities: "機能の一覧です",
	textCommitFailed: "削除できませんでした。やり直してください",
	textCorrupt:      "保存されたメールが壊れています。管理者に連絡してください",
	textDeleted:      "メール %d を削除対象にしました",
	textDisabled:     "このアカウントは無効です",
	textGone:         "メール %d は別のクライアントによって削除されました",
	textIdle:         "無通信のため切断します。何も削除していません",
	textInUse:        "メールボックスは別の接続で使用中です",
	textLanguage:     "日本語で応答します",
	textLanguages:    "言語の一覧です",
	textLeaseLost:    "メールボックスの使用権を失いました。何も削除していません。やり直してください",
	textListing:      "%d 通 (%d オクテット)",
	textMaildrop:     "メール %d 通 (%d オクテット)",
	textMalformed:    "認証の手順に誤りがあります",
	textMechanism:    "その認証方式は使えません",
	textNeedTLS:      "TLSなしでパスワードは使えません",
	textNoLanguage:   "その言語には対応していません",
	textNoMaildrop:   "メールボックスがありません",
	textNoMessage:    "そのメールはありません",
	textNoSTLS:       "TLSは開始済みか、使えません",
	textNoop:         "接続しています",
	textOctets:       "%d オクテット",
	textPassword:     "パスワードを送ってください",
	textShutdown:     "サーバーを停止します。何も削除していません。後でやり直してください",
	textSyntax:       "構文に誤りがあります",
	textThrottled:    "認証の失敗が多すぎます。後でやり直してください",
	textTooLong:      "行が長すぎます",
	textTooManyBad:   "誤ったコマンドが多すぎます",
	textTooSoon:      "前回のログインからの間隔が短すぎます",
	textTop:          "メールの先頭部分です",
	textUTF8:         "UTF-8を使えます",
	textUnavailable:  "現在処理できません。後でやり直してください",
	textUnknown:      "未知のコマンドです",
	textWrongState:   "この状態では使えないコマンドです",
}
