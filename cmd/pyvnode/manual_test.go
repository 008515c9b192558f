package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pyvnode/node"
)

// TestManual checks that the manual describes every command with every flag, every setting and every exit code.
func TestManual(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/manual.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(raw)
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.HasAvailableSubCommands() || cmd.Hidden {
			return
		}
		heading := "\n### " + cmd.CommandPath() + "\n"
		_, section, ok := strings.Cut(manual, heading)
		if !ok {
			t.Errorf("no heading %q", strings.TrimSpace(heading))
			return
		}
		section, _, _ = strings.Cut(section, "\n### ")
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !strings.Contains(section, "--"+f.Name) {
				t.Errorf("%s: flag --%s is not described", cmd.CommandPath(), f.Name)
			}
		})
		if cmd.Short == "" {
			t.Errorf("%s: no short help", cmd.CommandPath())
		}
	}
	walk(newRootCmd(&app{}))

	for _, s := range node.Settings() {
		row := fmt.Sprintf("| `%s` | `--%s` | `%s` | %s | %s | %s |", s.Name, s.Flag(), s.Env(), s.DefaultText(), s.Allowed(), s.Help)
		if !strings.Contains(manual, row) {
			t.Errorf("the table of settings lacks the row\n%s", row)
		}
	}
	for code := exitOK; code <= exitDenied; code++ {
		if !strings.Contains(manual, fmt.Sprintf("\n| %d | ", code)) {
			t.Errorf("exit code %d is not described", code)
		}
	}
}
