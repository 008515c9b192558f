package main

import (
	"encoding/json"
	"strconv"

	"github.com/spf13/cobra"

	"pyvnode/node"
)

// setting is a value as config show prints it.
type setting struct {
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value"`
	Source node.Source     `json:"source"`
	Where  string          `json:"where,omitempty"`
}

func newConfigCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings",
		Args:  subcommandOnly,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "show",
		Short: "Print every setting and where its value came from",
		Long: `Prints every setting with its value and its source: default, configuration file, environment variable or flag, the
later ones overriding the earlier ones.`,
		Example: `  pyvnode config show`,
		Args:    arguments(cobra.NoArgs),
		RunE:    func(*cobra.Command, []string) error { return a.showConfig() },
	})
	return cmd
}

// settingJSON returns a value as the configuration file has it.
func settingJSON(v node.Value) (json.RawMessage, error) {
	switch v.Kind {
	case node.IntegerSetting, node.BoolSetting:
		return json.RawMessage(v.Text), nil
	case node.ListSetting:
		return json.Marshal(v.List())
	}
	return json.Marshal(v.Text)
}

func (a *app) showConfig() error {
	if a.json() {
		out := struct {
			File     string    `json:"file,omitempty"`
			Settings []setting `json:"settings"`
		}{File: a.cfg.File}
		for _, v := range a.cfg.Values() {
			value, err := settingJSON(v)
			if err != nil {
				return err
			}
			out.Settings = append(out.Settings, setting{Name: v.Name, Value: value, Source: v.Source, Where: v.Where})
		}
		return printJSON(a.stdout, out)
	}
	rows := [][3]string{{"SETTING", "VALUE", "SOURCE"}}
	for _, v := range a.cfg.Values() {
		source := string(v.Source)
		if v.Where != "" {
			source += " " + v.Where
		}
		value := v.Text
		if value == "" {
			value = "(" + v.Unset + ")"
		}
		if v.Kind == node.PathSetting && printable(value) != value {
			value = strconv.Quote(value)
		}
		rows = append(rows, [3]string{v.Name, value, source})
	}
	for _, r := range rows {
		if err := columns(a.stdout, []int{20, 24, 0}, r[:]...); err != nil {
			return err
		}
	}
	return nil
}
