package session

import (
	"context"
	"strings"
)

// capaLang is RFC 6856 section 3.
func (s *Session) capaLang() string { return "LANG" }

// cmdLang is RFC 6856 section 3.
func (s *Session) cmdLang(_ context.Context, args []string) error {
	if len(args) == 0 {
		s.say(textLanguages)
		for _, l := range languages {
			if err := s.line("%s %s", l.tag, l.name); err != nil {
				return err
			}
		}
		return s.end()
	}
	l, ok := lookupLanguage(args[0])
	if !ok {
		return failure{text: textNoLanguage}
	}
	s.language = l
	s.ok("%s %s", l.tag, l.texts[textLanguage])
	return nil
}

// lookupLanguage follows RFC 4647 section 3.4: en-GB finds en. "*" is the server's choice.
func lookupLanguage(tag string) (language, bool) {
	for tag != "*" {
		for _, l := range languages {
			if strings.EqualFold(l.tag, tag) {
				return l, true
			}
		}
		i := strings.LastIndexByte(tag, '-')
		if i < 0 {
			return language{}, false
		}
		tag = tag[:i]
	}
	return languages[0], true
}
