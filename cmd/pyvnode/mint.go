package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pyvnode/ledger"
	"pyvnode/ledger/record"
	"pyvnode/ledger/store"
)

func newMintCmd(a *app) *cobra.Command {
	var (
		kind, payload string
		strength      int
		count         int
		packed        bool
	)
	cmd := &cobra.Command{
		Use:   "mint {KEY=VALUE … | --payload JSON}",
		Short: "Make a record without storing it",
		Long: `Makes a record: header, times, hash and proof of work around a payload. It is printed as one line that
"pyvnode put --file" takes.

key=value is text, key:=JSON a typed value: amount:=125, rate:=1.5, tags:='["a","bc"]', blob:='{"bytes":"AAH+"}'.
Without a data directory records get the strength that original servers ask for, which is 4.`,
		Example: `  pyvnode mint --kind ballot choice=yes
  pyvnode mint --kind charity donor=Anna amount:=125 > gift.ndjson`,
		Args: arguments(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			dict, err := readPayload(cmd, args, payload)
			if err != nil {
				return err
			}
			if kind != "" {
				if err := ledger.CheckKind(kind); err != nil {
					return usageError("--kind: "+err.Error(), "")
				}
			}
			if !cmd.Flags().Changed("strength") {
				if strength, err = a.strengthOf(kind); err != nil {
					return err
				}
			} else if strength < 1 || strength > ledger.MaxStrength {
				return usageError(fmt.Sprintf("--strength is %d; 1 to %d are allowed", strength, ledger.MaxStrength), "")
			}
			if count < 1 {
				return usageError(fmt.Sprintf("--count is %d; at least 1 is allowed", count), "")
			}
			for range count {
				r, err := a.mint(cmd.Context(), dict, strength)
				if err != nil {
					return err
				}
				line, err := mintedLine(kind, r, packed)
				if err != nil {
					return err
				}
				if _, err := a.rawOut().Write(line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kind, "kind", "", "kind of the record; with it the line says its kind")
	flags.StringVar(&payload, "payload", "", "the payload as one JSON object")
	flags.IntVar(&strength, "strength", ledger.DefaultStrength, "proof of work in zero hex digits; not given, what the network asks for")
	flags.IntVar(&count, "count", 1, "make so many records of the same payload, each with a header of its own")
	flags.BoolVar(&packed, "packed", false, "print the packed text of the original protocol instead of JSON")
	return cmd
}

// strengthOf returns what the network asks of a record, or the default when there is no data directory.
func (a *app) strengthOf(kind string) (int, error) {
	if a.cfg.Data() == "" {
		return ledger.DefaultStrength, nil
	}
	g, err := store.ReadGenesisFile(a.cfg.Data())
	if errors.Is(err, fs.ErrNotExist) {
		return ledger.DefaultStrength, nil
	}
	if err != nil {
		return 0, err
	}
	return max(g.StrengthOf(kind), 1), nil
}

// mintedLine returns a record as the line that put reads.
func mintedLine(kind string, r *record.Record, packed bool) ([]byte, error) {
	switch {
	case packed:
		normal, err := r.Normal()
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(string(normal), "\r\n") {
			return nil, &failure{Code: exitFailure, Reason: "line-break",
				Message: "the record holds a line break, so its packed text is not one line", Hint: "leave out --packed: JSON writes line breaks as \\n"}
		}
		return append(normal, '\n'), nil
	case kind == "":
		line, err := r.MarshalJSON()
		return append(line, '\n'), err
	}
	return ledger.AppendJSONLine(nil, &ledger.JSONLine{Kind: kind, Record: r})
}

// mint makes a record of a payload, dated now.
func (a *app) mint(ctx context.Context, payload *record.Dict, strength int) (*record.Record, error) {
	r, err := record.New(payload, time.Now(), rand.Reader)
	if err != nil {
		return nil, err
	}
	p := a.progress("minting", "hashes", uint64(record.ExpectedAttempts(strength)))
	defer p.stop()
	return r, record.Minter{Strength: max(strength, 1), Workers: a.cfg.Workers(), Progress: p.set}.Mint(ctx, r)
}

// readPayload makes a payload of arguments or of the --payload flag.
func readPayload(cmd *cobra.Command, args []string, payload string) (*record.Dict, error) {
	given := cmd.Flags().Changed("payload")
	switch {
	case given && len(args) > 0:
		return nil, usageError("give either --payload or key=value arguments, not both", helpHint(cmd))
	case !given && len(args) == 0:
		return nil, usageError("no payload: give key=value arguments or --payload", helpHint(cmd))
	case given:
		return payloadObject(payload)
	}
	d := new(record.Dict)
	for _, arg := range args {
		key, value, err := parsePair(arg)
		if err != nil {
			return nil, err
		}
		if _, twice := d.Get(record.Text(key)); twice {
			return nil, usageError(fmt.Sprintf("key %q is given twice", key), "")
		}
		d.Set(record.Text(key), value)
	}
	return d, nil
}

func payloadObject(text string) (*record.Dict, error) {
	value, err := record.ParseJSONValue([]byte(text))
	if err != nil {
		return nil, usageError("--payload: "+detailOf(err), "")
	}
	d, ok := value.(*record.Dict)
	if !ok {
		return nil, usageError("--payload: want a JSON object", "")
	}
	return d, nil
}

// detailOf is what an error of package record says to people, without its reason.
func detailOf(err error) string {
	var bad *record.Error
	if errors.As(err, &bad) {
		return bad.Detail
	}
	return err.Error()
}

// How people write numbers that JSON does not take.
var (
	decimalComma    = regexp.MustCompile(`^-?[0-9]+,[0-9]+$`)
	groupedByComma  = regexp.MustCompile(`^-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?$`)
	groupedByPoint  = regexp.MustCompile(`^-?[0-9]{1,3}((\.[0-9]{3})+,[0-9]+|(\.[0-9]{3}){2,})$`)
	nearlyJSON      = regexp.MustCompile(`^-?([0-9]+\.?[0-9]*|\.[0-9]+)$`)
	zerosInFront    = regexp.MustCompile(`^(-?)0+([0-9])`)
	ignoredInNumber = strings.NewReplacer("_", "", "'", "", " ", "")
)

// nearestNumbers guesses which numbers a text means that is none in JSON.
func nearestNumbers(text string) (guesses []string) {
	plain := ignoredInNumber.Replace(strings.TrimPrefix(strings.TrimSpace(text), "+"))
	if decimalComma.MatchString(plain) {
		guesses = append(guesses, strings.Replace(plain, ",", ".", 1))
	}
	switch {
	case groupedByComma.MatchString(plain):
		guesses = append(guesses, strings.ReplaceAll(plain, ",", ""))
	case groupedByPoint.MatchString(plain):
		guesses = append(guesses, strings.Replace(strings.ReplaceAll(plain, ".", ""), ",", ".", 1))
	case nearlyJSON.MatchString(plain):
		plain = zerosInFront.ReplaceAllString(plain, "$1$2")
		if strings.HasSuffix(plain, ".") {
			plain += "0"
		}
		if sign, fraction, bare := strings.Cut(plain, "."); bare && (sign == "" || sign == "-") {
			plain = sign + "0." + fraction
		}
		guesses = append(guesses, plain)
	}
	return slices.DeleteFunc(guesses, func(guess string) bool {
		_, err := record.ParseJSONValue([]byte(guess))
		return err != nil || guess == text
	})
}

// parsePair reads key=text or key:=JSON.
func parsePair(arg string) (string, record.Value, error) {
	key, text, ok := strings.Cut(arg, "=")
	key, typed := strings.CutSuffix(key, ":")
	if !ok || key == "" {
		return "", nil, usageError(fmt.Sprintf("argument %q is not key=value", arg), "text is key=value, a typed value key:=JSON")
	}
	if !typed {
		return key, record.Text(text), nil
	}
	value, err := record.ParseJSONValue([]byte(text))
	if err != nil {
		hint := fmt.Sprintf("for text write %s=%s", key, text)
		if numbers := nearestNumbers(text); len(numbers) > 0 {
			hint = fmt.Sprintf("for a number write %s:=%s; ", key, strings.Join(numbers, " or "+key+":=")) + hint
		}
		return "", nil, usageError(fmt.Sprintf("value of %q: %s", key, detailOf(err)), hint)
	}
	return key, value, nil
}
