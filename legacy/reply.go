package legacy

import (
	"pyvnode/ledger/record"
	"pyvnode/legacy/wire"
)

// reply is what a command answers, and what it does to the connection after that.
type reply struct {
	value   record.Value
	key     wire.SessionKey         // if not empty, in force from the next message on
	then    func(*connection) error // if not nil, takes over the connection until it returns
	finally func()                  // if not nil, must be called when then has returned or will never be called
	end     bool                    // "Disconnected." follows, and the end
}

// ok answers ["OK", …].
func ok(rest ...any) reply { return reply{value: list("OK", rest...)} }

// refuse answers ["ERR", …].
func refuse(rest ...any) reply { return reply{value: list("ERR", rest...)} }

// failed answers for a command that cannot do its work, with the reason (docs/original-protocol.md §5).
func failed(reason string) reply { return refuse("on processing request.", reason) }

// asTuple is for the replies that are tuples in the original.
func (r reply) asTuple() reply {
	if l, isList := r.value.(record.List); isList {
		r.value = record.Tuple(l)
	}
	return r
}

// list makes a list of strings, numbers, bytes and values.
func list(first any, rest ...any) record.List {
	l := make(record.List, 0, 1+len(rest))
	l = append(l, value(first))
	for _, v := range rest {
		l = append(l, value(v))
	}
	return l
}

func value(v any) record.Value {
	switch v := v.(type) {
	case record.Value:
		return v
	case string:
		return record.Text(v)
	case []byte:
		return record.Bytes(v)
	case int:
		return record.NewInt(int64(v))
	case []string:
		l := make(record.List, len(v))
		for i, s := range v {
			l[i] = record.Text(s)
		}
		return l
	}
	panic("legacy: a reply of a type that the protocol does not have") // a mistake in this package
}
