package accounts

import (
	"bytes"
	"testing"
)

// FuzzFile reads anything as a file. What is taken must be written so that it reads as the same, and stay usable.
func FuzzFile(f *testing.F) {
	two := newTable(map[string]*account{
		"bob":     {Name: "bob", Password: newHash("pw"), Flags: Initial | Administrator, Second: &secondFactor{Secret: newSecret(), Shown: true, LastStep: 7}},
		"old 'x'": {Name: "old 'x'", Password: "$pyvserv$9638ff15$ef7b322469268127a41ac3d2cd45314b5397459333204a2064d40931b6fe2340", Flags: Disabled},
	})
	raw, err := two.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"format":"pyvnode-accounts","version":1,"users":[{"name":"n","flags":8,"from":["10.0.0.0/8"],"password":"$argon2id$v=19$m=8,t=1,p=1$MTIzNDU2Nzg$AAAAAAAAAAAAAAAAAAAAAA"}]}`))
	f.Add([]byte(`{"format":"pyvnode-accounts","version":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		first, err := parse(raw)
		if err != nil {
			return
		}
		text, err := first.encode()
		if err != nil {
			t.Fatal(err)
		}
		second, err := parse(text)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if again, err := second.encode(); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%s\n%s, %v", text, again, err)
		}
		for _, u := range second.users {
			if p, err := parseHash(u.Password); err != nil || p.memory > maxMemory || p.time > maxTime {
				t.Fatalf("%+v, %v", p.work, err)
			}
			if u.Second != nil {
				if _, err := newEnrolment("pyvnode", u.Name, u.Second); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
