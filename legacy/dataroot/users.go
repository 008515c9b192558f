package dataroot

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// User is a line of passwd.secret: name, flags and password, with commas between them.
type User struct {
	Name     string // with the file's escapes undone
	Flags    uint8  // [Initial], [Administrator], [Disabled] (docs/original-protocol.md §5)
	Password Secret
}

// Secret is what the original keeps of a password: sha256hex(password + salt) + salt, 72 characters. It prints as nothing.
type Secret string

// Format implements [fmt.Formatter].
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// NewSecret returns what the original keeps of a password, with a fresh salt.
func NewSecret(password string) Secret {
	salt := make([]byte, 4)
	_, _ = rand.Read(salt) // never fails
	text := hex.EncodeToString(salt)
	sum := sha256.Sum256([]byte(password + text))
	return Secret(hex.EncodeToString(sum[:]) + text)
}

// The flags of a user.
const (
	Initial       = 1 // cannot be deleted; there is at most one
	Administrator = 2
	Disabled      = 4
)

// Administers reports whether the user can log in and make others users.
func (u User) Administers() bool { return u.Flags&Administrator != 0 && u.Flags&Disabled == 0 }

const (
	allFlags  = 7
	secretLen = 64 + 8
	maxName   = 256 // bytes
)

// Users returns the users. Lines that are none are findings.
func (r *Root) Users(found func(Finding)) []User {
	raw, err := r.read(usersFile, maxUsersFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		found(missing(usersFile, "there is no file of users"))
	case err != nil:
		found(unreadable(usersFile, err))
	default:
		return parseUsers(string(raw), found)
	}
	return nil
}

func parseUsers(text string, found func(Finding)) (users []User) {
	known := map[string]bool{}
	initial := false
	n := 0
	for line := range strings.Lines(text) {
		n++
		u, err := parseUser(strings.TrimRight(line, "\r\n"))
		switch {
		case err != nil:
		case known[u.Name]:
			err = fmt.Errorf("user %q stands there twice; the first line counts", u.Name)
		case u.Flags&1 != 0 && initial:
			err = fmt.Errorf("user %q is a second initial user", u.Name)
		}
		if err != nil {
			found(Finding{File: usersFile, Reason: BadUser, Detail: fmt.Sprintf("line %d: %v", n, err)})
			continue
		}
		known[u.Name] = true
		initial = initial || u.Flags&1 != 0
		users = append(users, u)
	}
	return users
}

// parseUser reads a line. Its errors do not quote the password.
func parseUser(line string) (User, error) {
	fields := strings.SplitN(line, ",", 4)
	if len(fields) != 3 {
		return User{}, fmt.Errorf("%d fields, want name, flags and password", 1+strings.Count(line, ","))
	}
	name, err := unescape(fields[0])
	if err != nil {
		return User{}, err
	}
	flags, err := strconv.ParseUint(fields[1], 10, 8)
	if err != nil || flags&^allFlags != 0 {
		return User{}, fmt.Errorf("user %q: its flags are no number from 0 to %d", name, allFlags)
	}
	if len(fields[2]) != secretLen || strings.Trim(fields[2], "0123456789abcdef") != "" {
		return User{}, fmt.Errorf("user %q: the password is not %d hex digits", name, secretLen)
	}
	return User{Name: name, Flags: uint8(flags), Password: Secret(fields[2])}, nil
}

// escaped is what stands for a character in names.
const escaped = ` ,'"`

func escape(name string) string {
	var out strings.Builder
	for _, r := range name {
		switch {
		case r == '%':
			out.WriteString("%%")
		case strings.ContainsRune(escaped, r):
			fmt.Fprintf(&out, "%%%02x", r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

func unescape(text string) (string, error) {
	var out strings.Builder
	if text == "" || len(text) > maxName || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", fmt.Errorf("%.64q is no user name", text)
	}
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "%")
		out.WriteString(before)
		rest = after
		switch {
		case !found:
		case strings.HasPrefix(rest, "%"):
			out.WriteByte('%')
			rest = rest[1:]
		default:
			var n uint64
			var err error = strconv.ErrRange
			if len(rest) >= 2 {
				n, err = strconv.ParseUint(rest[:2], 16, 7)
			}
			if err != nil || !strings.ContainsRune(escaped, rune(n)) {
				return "", fmt.Errorf("%.64q is no user name: a %% in it is followed by what the original does not write", text)
			}
			out.WriteByte(byte(n))
			rest = rest[2:]
		}
	}
	return out.String(), nil
}

// line returns a user as passwd.secret has him.
func (u User) line() (string, error) {
	line := fmt.Sprintf("%s,%d,%s", escape(u.Name), u.Flags, string(u.Password))
	if back, err := parseUser(line); err != nil {
		return "", err
	} else if back != u {
		return "", fmt.Errorf("user %q cannot be written for the original", u.Name)
	}
	return line + "\n", nil
}
