package record

import "unicode/utf8"

// The original turns text into bytes as code page 437, the character set of
// the first IBM PC, wherever it hashes text other than when a client makes
// _Hash (docs/original-protocol.md §6). Its lower half is ASCII, control
// characters included, as in Python's codec "cp437".
const cp437High = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ" +
	"áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
	"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀" +
	"αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"

var (
	cp437Runes [128]rune     // by byte, from 0x80
	cp437Bytes map[rune]byte // the inverse
)

func init() {
	cp437Bytes = make(map[rune]byte, 128)
	i := 0
	for _, r := range cp437High {
		cp437Runes[i] = r
		cp437Bytes[r] = byte(0x80 + i)
		i++
	}
}

// decodeCP437 returns text, in code page 437, as UTF-8. Every byte is a
// character there, so it cannot fail.
func decodeCP437(text []byte) []byte {
	out := make([]byte, 0, 2*len(text))
	for _, c := range text {
		if c < utf8.RuneSelf {
			out = append(out, c)
		} else {
			out = utf8.AppendRune(out, cp437Runes[c-0x80])
		}
	}
	return out
}

// appendCP437 appends text, valid UTF-8, to dst in code page 437. It reports
// false when a character of it is not in the code page.
func appendCP437(dst, text []byte) ([]byte, bool) {
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		c, ok := cp437Bytes[r]
		if !ok {
			return dst, false
		}
		dst = append(dst, c)
		i += size
	}
	return dst, true
}

// proofBytes returns text as the bytes that _Proof and _Link are over: code
// page 437 where every character is in it, otherwise all of it as UTF-8. The
// original knows only the former, and fails on any other text.
func proofBytes(text []byte) []byte {
	if isASCII(text) {
		return text
	}
	if b, ok := appendCP437(nil, text); ok {
		return b
	}
	return text
}
