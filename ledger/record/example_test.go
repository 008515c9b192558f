package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pyvnode/ledger/record"
)

func Example() {
	payload := new(record.Dict).
		Set(record.Text("name"), record.Text("José")).
		Set(record.Text("amount"), record.NewInt(125))
	now := time.Date(2026, 11, 22, 1, 22, 44, 0, time.UTC)
	r, err := record.New(payload, now, strings.NewReader("use crypto/rand.Reader here"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := (record.Minter{}).Mint(context.Background(), r); err != nil {
		fmt.Println(err)
		return
	}
	normal, err := r.Normal()
	if err != nil {
		fmt.Println(err)
		return
	}

	var c record.Checker
	facts, err := c.Check(normal, record.DefaultStrength)
	fmt.Println(facts.Header, facts.Time.Format(time.RFC3339), err)

	_, err = c.Check(bytes.Replace(normal, []byte("125"), []byte("999"), 1), record.DefaultStrength)
	var refusal *record.Error
	fmt.Println(errors.As(err, &refusal), refusal.Reason)
	// Output:
	// 37caca00-e613-11f1-b573-652063727970 2026-11-22T01:22:44Z <nil>
	// true hash-mismatch
}

func ExampleAppendPack() {
	packed, err := record.AppendPack(nil, record.Text("rput"), record.Text("é"), record.List{record.NewInt(-5), record.Float(1.5)})
	fmt.Printf("%s|%v\n", packed, err)
	// Output: pg s3 'sca' s4 'rput' c1 é a29 'pg s2 'if' i4 -5 f8 1.500000 ' |<nil>
}

func ExampleAppendJSON() {
	text, err := record.AppendJSON(nil, record.Tuple{record.Text("a"), record.Float(2), record.Bytes("b")})
	fmt.Println(string(text), err)
	// Output: {"tuple":["a",2.0,{"bytes":"Yg=="}]} <nil>
}
