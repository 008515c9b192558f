package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setHelp makes the help of a command and of those below it fit the screen.
func setHelp(root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := fmt.Fprint(cmd.OutOrStderr(), usageText(cmd))
		return err
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		about := cmd.Long
		if about == "" {
			about = cmd.Short
		}
		_, _ = fmt.Fprint(cmd.OutOrStdout(), paragraphs(about)+"\n\n"+usageText(cmd)) // there is nobody to tell
	})
}

// usageText says how a command is called.
func usageText(cmd *cobra.Command) string {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if cmd.Runnable() {
		for line := range strings.SplitSeq(cmd.UseLine(), " | "+cmd.Name()+" ") { // two ways to call it
			if !strings.HasPrefix(line, cmd.Root().Name()) {
				line = cmd.CommandPath() + " " + line
			}
			b.WriteString(hanging(line))
		}
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString(hanging(cmd.CommandPath() + " COMMAND"))
	}
	if cmd.HasExample() {
		b.WriteString("\nExamples:\n" + examples(cmd.Example))
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				b.WriteString(entryText(sub.Name(), cmd.NamePadding()+columnGap, sub.Short))
			}
		}
	}
	for _, part := range []struct {
		title string
		flags *pflag.FlagSet
	}{{"Flags", cmd.LocalFlags()}, {"Flags of every command", cmd.InheritedFlags()}} {
		if part.flags.HasAvailableFlags() {
			b.WriteString("\n" + part.title + ":\n")
			part.flags.VisitAll(func(f *pflag.Flag) { b.WriteString(flagText(f)) })
		}
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\n" + paragraphs(fmt.Sprintf("More about a command: %s COMMAND --help", cmd.CommandPath())) + "\n")
	}
	return b.String()
}

// hanging is an indented line, with more indentation where it goes on.
func hanging(text string) string {
	const indent = 2
	var b strings.Builder
	for i, line := range wrap(text, screen-2*indent) {
		b.WriteString(strings.Repeat(" ", indent*min(i+1, 2)) + line + "\n")
	}
	return b.String()
}

// examples breaks command lines as a shell takes them.
func examples(text string) string {
	const indent = 2
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		parts := wrap(strings.TrimSpace(strings.TrimSuffix(line, "\\")), screen-2*indent-len(` \`))
		for i, part := range parts {
			at := indent * min(i+1, 2)
			if i == 0 && strings.HasPrefix(line, "    ") { // it goes on with the line before
				at = 2 * indent
			}
			b.WriteString(strings.Repeat(" ", at) + part)
			if i < len(parts)-1 || strings.HasSuffix(line, "\\") {
				b.WriteString(` \`)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// entryText is a word and, from a column on, what it means.
func entryText(word string, column int, meaning string) string {
	var l layout
	l.put(columnGap, word)
	l.put(columnGap+column, meaning)
	l.end()
	return l.b.String()
}

// flagText is a flag and what it means.
func flagText(f *pflag.Flag) string {
	const column = 24
	if f.Hidden || f.Deprecated != "" {
		return ""
	}
	value, meaning := pflag.UnquoteUsage(f)
	word := "    --" + f.Name
	if f.Shorthand != "" {
		word = "-" + f.Shorthand + ", --" + f.Name
	}
	if value != "" && f.NoOptDefVal == "" {
		word += " " + value
	}
	if d := f.DefValue; f.Value.Type() != "bool" && d != "" && d != "0" && d != "[]" {
		meaning += " (default " + d + ")"
	}
	return entryText(word, column, meaning)
}

// paragraphs breaks a text whose paragraphs are separated by empty lines. Lines that are indented stay lines; what such a
// line says after a gap goes on below itself.
func paragraphs(text string) string {
	var out []string
	var open string // the paragraph that is being read
	end := func() {
		if open != "" {
			out = append(out, wrap(open, screen)...)
		}
		open = ""
	}
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			end()
			out = append(out, "")
		case line[0] == ' ' || line[0] == '\t':
			end()
			at := len(line) - len(strings.TrimLeft(line, " \t"))
			if gap := strings.LastIndex(line, "  "); gap > at {
				at = gap + columnGap
			}
			for i, part := range wrap(line[at:], screen-columnsOf(line[:at])) {
				if i == 0 {
					part = line[:at] + part
				} else {
					part = strings.Repeat(" ", columnsOf(line[:at])) + part
				}
				out = append(out, part)
			}
		case open == "":
			open = line
		default:
			open += " " + line
		}
	}
	end()
	return strings.Join(out, "\n")
}
