package record

import "strings"

// jsonScan finds the character at which a text stops being JSON (RFC 8259), and says why. encoding/json
// says it too, but in words, and with a place, that differ from one version of Go to the next.
type jsonScan struct {
	text  []byte
	at    int
	depth int
}

// maxScan bounds how deep a text is looked into. encoding/json reads no deeper either.
const maxScan = 10_000

// document returns what to say after the place of the first bad character, which is at. At the end of
// the text the text ends too early, or is JSON.
func (s *jsonScan) document() string {
	if why := s.value(); why != "" {
		return why
	}
	s.space()
	return ": want nothing more after the value"
}

func (s *jsonScan) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

// next returns the next character after white space; zero at the end.
func (s *jsonScan) next() byte {
	s.space()
	return s.here()
}

func (s *jsonScan) here() byte {
	if s.at >= len(s.text) {
		return 0
	}
	return s.text[s.at]
}

// value passes over a value. Every function here returns nothing if all is well.
func (s *jsonScan) value() string {
	switch c := s.next(); {
	case c == '{' || c == '[':
		if s.depth++; s.depth > maxScan {
			return " begins a value that is nested too deep"
		}
		defer func() { s.depth-- }()
		s.at++
		return s.members(c == '{')
	case c == '"':
		return s.string()
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return ": want a value: text in quotes, a number, [ or {"
}

// members passes over the rest of an object or an array.
func (s *jsonScan) members(object bool) string {
	end, more := byte(']'), ": want a comma or ] after the value"
	if object {
		end, more = '}', ": want a comma or } after the value"
	}
	if s.next() == end {
		s.at++
		return ""
	}
	for {
		if object {
			if s.next() != '"' {
				return ": want a key in quotes"
			}
			if why := s.string(); why != "" {
				return why
			}
			if s.next() != ':' {
				return ": want a colon after the key"
			}
			s.at++
		}
		if why := s.value(); why != "" {
			return why
		}
		switch s.next() {
		case ',':
			s.at++
		case end:
			s.at++
			return ""
		default:
			return more
		}
	}
}

func (s *jsonScan) string() string {
	const early = " ends the text too early"
	const escape = ": no such escape; a backslash itself is written as \\\\"
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return ""
		case c < ' ':
			return ": line breaks and other control characters in text are written as escapes, such as \\n"
		case c != '\\':
			continue
		}
		s.at++
		digits := 0
		switch c := s.here(); {
		case s.at == len(s.text):
			return early
		case c == 'u':
			digits = 4
		case strings.IndexByte(`"\/bfnrt`, c) < 0:
			return escape
		}
		for range digits {
			if s.at++; s.at == len(s.text) {
				return early
			}
			if strings.IndexByte("0123456789abcdefABCDEF", s.text[s.at]) < 0 {
				return escape
			}
		}
	}
	return early
}

func (s *jsonScan) number() string {
	if s.here() == '-' {
		s.at++
	}
	switch c := s.here(); {
	case c == '0':
		s.at++
	case !s.digits():
		return " cannot stand in numeric literal"
	}
	if s.here() == '.' {
		if s.at++; !s.digits() {
			return " cannot stand after decimal point in numeric literal"
		}
	}
	if c := s.here(); c == 'e' || c == 'E' {
		s.at++
		if c := s.here(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return " cannot stand in exponent of numeric literal"
		}
	}
	return ""
}

// digits passes over digits and reports whether there was one.
func (s *jsonScan) digits() bool {
	from := s.at
	for c := s.here(); c >= '0' && c <= '9'; c = s.here() {
		s.at++
	}
	return s.at > from
}

func (s *jsonScan) literal(text string) string {
	for i := range len(text) {
		if s.here() != text[i] {
			return " cannot stand in " + text
		}
		s.at++
	}
	return ""
}
