// Package wire is what passes over a connection of the original server, PyvServer: frames,
// messages, and the encryption of both. Section numbers are those of docs/original-protocol.md.
//
// A connection carries frames (docs/original-protocol.md §1), each a length and a payload
// ([ReadFrame], [WriteFrame]). The payload of nearly every frame is a message
// (docs/original-protocol.md §3): a command list from the client, a reply list from the server,
// packed between random bytes, compressed, and encrypted once both sides have a session key
// ([Codec]). The client makes that key and sends it under the server's public key
// (docs/original-protocol.md §4: [SessionKey], [PublicKey], [PrivateKey]).
//
// # This encryption is weak
//
// It is here because the original's clients speak it, and for nothing else. Take it that every
// reader of a connection knows what is in it, passwords included, and that everybody who can write
// to it can change it:
//
//   - every message of a session, in both directions, is encrypted with the same key stream, so two messages reveal
//     each other if one of them can be guessed;
//   - nothing is authenticated: a bit flipped on the way is a bit flipped in the text, and anyone in between can give
//     the client a public key of their own;
//   - consecutive bytes of the key stream under which the session key travels share seven of their eight bits.
//
// So it belongs on the loopback interface, or inside a tunnel that is a real one.
//
// # Bounds
//
// Everything read is taken to be hostile. A frame is at most [MaxFrame] bytes. A message is at most
// [MaxText] bytes when unpacked from it, and nested at most [record.MaxDepth] deep. Beyond that it
// is refused while it is read, so no frame costs more than some milliseconds or more memory than a
// small multiple of MaxText. Decrypting a session key takes a tenth of a millisecond with a key of
// 256 bits and some milliseconds with one of 521. How often a client may ask for that is for the
// server to bound.
//
// # Files
//
//	frame.go              frames
//	codec.go              messages; deflate.go compresses them
//	session.go, keys.go   session keys, and the key pairs under which they travel
//	rabbit.go             the stream cipher
package wire
