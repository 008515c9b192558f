package legacy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// errNoAccess says that a path leads out of the user's directory, or is none.
var errNoAccess = errors.New("no access")

// partDir is the directory of unfinished uploads in each user's directory. Users neither see it nor name it.
const partDir = ".part"

// resolve finds what a path that a client gave means, seen from the directory cwd: a clean path with slashes, relative to
// the user's directory, "." for that itself. It never leads out; that no symbolic link in it does is [os.Root]'s matter.
func resolve(cwd, name string) (string, error) {
	name = unescape(name)
	if len(name) > maxPath || strings.HasPrefix(name, "/") || !utf8.ValidString(name) {
		return "", errNoAccess
	}
	var parts []string
	if cwd != "." {
		parts = strings.Split(cwd, "/")
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			if len(parts) == 0 {
				return "", errNoAccess
			}
			parts = parts[:len(parts)-1]
		case len(part) > maxPathPart || strings.ContainsFunc(part, unicode.IsControl):
			return "", errNoAccess
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) > 0 && parts[0] == partDir {
		return "", errNoAccess
	}
	clean := path.Join(parts...)
	if clean == "" {
		clean = "."
	}
	if len(clean) > maxPath {
		return "", errNoAccess
	}
	return clean, nil
}

// unescape undoes the escapes of names: '%' and two decimal digits are the character whose number they are in hexadecimal,
// as %20 is a space (docs/original-protocol.md §7).
func unescape(name string) string {
	if !strings.Contains(name, "%") {
		return name
	}
	digit := func(i int) (rune, bool) {
		if i >= len(name) || name[i] < '0' || name[i] > '9' {
			return 0, false
		}
		return rune(name[i] - '0'), true
	}
	var out strings.Builder
	for i := 0; i < len(name); {
		high, isHigh := digit(i + 1)
		low, isLow := digit(i + 2)
		if name[i] == '%' && isHigh && isLow {
			out.WriteRune(high<<4 | low)
			i += 3
			continue
		}
		out.WriteByte(name[i])
		i++
	}
	return out.String()
}

// UserDirectory is the name of a user's directory, in the directory of them all. Names of letters, digits, '_', '-' and inner dots are as they are; what
// could mean something else to a file system is written as '%' and two hex digits. So no two users share one, and none
// leads anywhere else.
func UserDirectory(user string) string {
	var out strings.Builder
	for i := 0; i < len(user); {
		r, size := utf8.DecodeRuneInString(user[i:])
		switch {
		case r == '.' && i > 0, r == '_', r == '-', unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
			out.WriteRune(r)
		default: // bytes that are not UTF-8 among them
			for _, b := range []byte(user[i : i+size]) {
				fmt.Fprintf(&out, "%%%02x", b)
			}
		}
		i += size
	}
	name := out.String()
	if strings.HasSuffix(name, ".") { // Windows takes it away
		name = strings.TrimSuffix(name, ".") + "%2e"
	}
	if len(name) > maxPathPart || name == "" {
		sum := sha256.Sum256([]byte(user))
		name = "~" + hex.EncodeToString(sum[:]) // '~' is never written otherwise
	}
	return name
}
