package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pyvnode/node"
)

// Who gets which settings as flags.
func ofEveryCommand(s node.Setting) bool { return !s.Run }
func ofRun(s node.Setting) bool          { return s.Run }
func ofWriting(s node.Setting) bool      { return s.Name == node.SettingAlone }

// addSettings adds a flag for each wanted setting. What is given is read by configure.
func addSettings(flags *pflag.FlagSet, wanted func(node.Setting) bool) {
	for _, s := range node.Settings() {
		if !wanted(s) {
			continue
		}
		help := s.Help + "; " + s.Allowed() + " (default " + strings.Trim(s.DefaultText(), "`") + ")"
		switch s.Kind {
		case node.BoolSetting:
			flags.Var(&settingFlag{kind: "bool"}, s.Flag(), help)
			flags.Lookup(s.Flag()).NoOptDefVal = "true"
		case node.ListSetting:
			flags.Var(&settingFlag{kind: "list", list: true}, s.Flag(), help)
		default:
			flags.Var(&settingFlag{kind: "string"}, s.Flag(), help)
		}
	}
}

// givenSettings returns the values of the settings that the command line gives.
func givenSettings(cmd *cobra.Command) map[string]string {
	given := map[string]string{}
	for _, s := range node.Settings() {
		if f := cmd.Flags().Lookup(s.Flag()); f != nil && f.Changed {
			given[s.Name] = f.Value.String()
		}
	}
	return given
}

// settingFlag is the text of a setting on the command line; a list may be given in parts.
type settingFlag struct {
	text string
	kind string
	list bool
}

func (f *settingFlag) String() string { return f.text }

func (f *settingFlag) Type() string { return f.kind }

func (f *settingFlag) Set(text string) error {
	if f.list && f.text != "" {
		text = f.text + "," + text
	}
	f.text = text
	return nil
}
