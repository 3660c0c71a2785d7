package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/imapserver/maildir"
	"mailstead/schema"
)

// shells are the shells for which completion can be generated.
var shells = []struct {
	name     string
	generate func(root *cobra.Command, w io.Writer) error
}{
	{"bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) }},
	{"zsh", (*cobra.Command).GenZshCompletion},
	{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }},
}

func newCompletionCommand() *cobra.Command {
	names := make([]string, 0, len(shells))
	for _, s := range shells {
		names = append(names, s.name)
	}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "print the completion script of a shell",
		Long: `Prints a script that teaches a shell the commands and flags of mailstead.

  bash   source <(mailstead completion bash), with the package bash-completion
  zsh    mailstead completion zsh > "${fpath[1]}/_mailstead"
  fish   mailstead completion fish > ~/.config/fish/completions/mailstead.fish` +
			exitStatus(exitDone, exitFailed),
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCompletion(cmd.Root(), cmd.OutOrStdout(), args[0])
		},
	}
}

func runCompletion(root *cobra.Command, w io.Writer, shell string) error {
	for _, s := range shells {
		if s.name == shell {
			return s.generate(root, w)
		}
	}
	return hint(fmt.Errorf("no completion for the shell %q", shell), "there is one for bash, zsh and fish")
}

// completeWith offers the shell the values that a flag can have.
func completeWith(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag of that name does not exist: found by the first start
	}
}

// maxCompletions is how many names a shell is offered at most.
const maxCompletions = 200

// nameFlags are the flags whose values are names of the host that was applied.
var nameFlags = map[string]func(*schema.Host) []string{
	"user": userNames,
	"listener": func(h *schema.Host) (names []string) {
		for _, l := range h.Listeners {
			names = append(names, l.Name)
		}
		return names
	},
	"mailbox": func(h *schema.Host) []string {
		names := []string{maildir.Inbox}
		for _, f := range h.Folders {
			names = append(names, f.Name)
		}
		return names
	},
}

func userNames(h *schema.Host) (names []string) {
	for _, u := range h.Users {
		names = append(names, u.Name)
	}
	return names
}

// completeNames offers names of the host to all commands, where the one who asks may
// read what was applied.
func completeNames(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		completeNames(sub)
	}
	for flag, names := range nameFlags {
		if cmd.Flags().Lookup(flag) != nil {
			cmd.RegisterFlagCompletionFunc(flag, fromHost(names)) // which fails only without such a flag
		}
	}
	if f := cmd.Flags(); f.Lookup("host") != nil && f.Lookup("tag") != nil {
		cmd.RegisterFlagCompletionFunc("host", fromDescription)
	}
}

// fromDescription completes the name of a host of the description that the arguments
// name so far.
func fromDescription(cmd *cobra.Command, args []string, typed string) (found []string, _ cobra.ShellCompDirective) {
	var s source
	s.take(slices.DeleteFunc(slices.Clone(args), func(path string) bool {
		_, err := os.Stat(path)
		return err != nil // the name of a user, or half of a path
	}))
	s.tags, _ = cmd.Flags().GetStringArray("tag")
	config, err := s.load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, name := range hostNames(config.Hosts) {
		if strings.HasPrefix(name, typed) && len(found) < maxCompletions {
			found = append(found, name)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// firstUser completes a user in front of the paths of a description.
func firstUser(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return fromHost(userNames)(cmd, args, typed)
}

// fromHost completes names that begin with what is typed. A name after others that
// are parted by commas is not completed.
func fromHost(names func(*schema.Host) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) (found []string, _ cobra.ShellCompDirective) {
		state := defaultState
		if f := cmd.Flags().Lookup("state"); f != nil {
			state = f.Value.String()
		}
		host, _, err := readApplied(state)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, name := range names(host) {
			if strings.HasPrefix(name, typed) && len(found) < maxCompletions {
				found = append(found, name)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
