package dataroot

import (
	"net"
	"strconv"
	"strings"
)

// MaxKeys is how many key pairs a directory may have. Each takes up to some milliseconds to read.
const MaxKeys = 1000

// maxHost is the greatest length in bytes of a host with its port.
const maxHost = 270

// IsHost reports whether text is a host and a port, as the list of hosts to replicate to has them.
func IsHost(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || len(text) > maxHost || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
