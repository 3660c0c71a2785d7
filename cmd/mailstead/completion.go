package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
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

  bash   source <(mailstead completion bash)
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
