package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// commands are the constructors of every command, in the order of the help.
var commands = []func() *cobra.Command{
	newInitCommand,
	newAdoptCommand,
	newValidateCommand,
	newPlanCommand,
	newShowCommand,
	newFactsCommand,
	newApplyCommand,
	newStatusCommand,
	newDoctorCommand,
	newExplainLoginCommand,
	newSessionsCommand,
	newExplainSessionCommand,
	newWhoDeletedCommand,
	newTraceCommand,
	newMetricsCommand,
	newCutoverCommand,
	newRollbackCommand,
	newHistoryCommand,
	newDiffCommand,
	newExplainCommand,
	newWhyCommand,
	newSnippetCommand,
	newUpCommand,
	newHandbackCommand,
	newImportCommand,
	newPurgeCommand,
	newUndeleteCommand,
	newProfileCommand,
	newFlattenCommand,
	newHashPasswordCommand,
	newAppPasswordCommand,
	newTOTPCommand,
	newWebCommand,
	newDeployHookCommand,
	newSchemaCommand,
	newVersionCommand,
	newCompletionCommand,
	newManCommand,
	newAsUserCommand,
	newLookAtMailCommand,
	newImportWorkCommand,
	newImportConnectCommand,
	newRemoteCommand,
	newWebAdminCommand,
}

const rootLong = `Mailstead turns one description of a mail host into a host that serves mail:
it compares the description with what is there, says every change before it is
made, makes it, and afterwards finds nothing left to change.

Start with "mailstead init", then "mailstead plan" and "mailstead apply"; or try
it without root in a directory of its own: "mailstead up examples/quickstart".`

// run is the whole program: it returns the exit code. The first interrupt ends
// what is being done in good order, the second one at once.
func run(args []string, in io.Reader, out, err io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root, said := newRoot(), &output{Writer: out}
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(said)
	root.SetErr(err)
	failed := noSuchHelp(root, args)
	if failed == nil {
		failed = root.ExecuteContext(ctx)
	}
	var invalid *invalidError
	if errors.As(failed, &invalid) {
		failed = errors.Join(failed, invalid.write(said))
	}
	return report(errorWriter(err), said.ended(failed))
}

func newRoot() *cobra.Command {
	cobra.EnableCommandSorting = false
	root := &cobra.Command{
		Use:               "mailstead",
		Short:             "plan, apply and watch over IMAP mail hosts",
		Long:              rootLong + exitStatus(slices.Sorted(maps.Keys(exitMeanings))...),
		Args:              knownCommand,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asked, err := cmd.Flags().GetBool("version"); asked || err != nil {
				return errors.Join(err, sayVersion(cmd))
			}
			return cmd.Help()
		},

		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2,
	}
	root.Flags().Bool("version", false, "say which version this is, as the command does")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	for _, construct := range commands {
		cmd := construct()
		for _, c := range append(cmd.Commands(), cmd) {
			checkArgs(c)
		}
		root.AddCommand(cmd)
	}
	completeNames(root)
	return root
}

// checkArgs adds the way to the help to what a command says of its arguments.
func checkArgs(cmd *cobra.Command) {
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err != nil && strings.HasPrefix(err.Error(), "unknown command") && !cmd.HasSubCommands() { // cobra.NoArgs says so
			err = fmt.Errorf("%s takes no argument, and %q is one", cmd.CommandPath(), args[0])
		}
		if err != nil {
			return usageError(cmd, err)
		}
		return nil
	}
}

// flagError is a mistake in a flag, without what only its parser understands.
func flagError(cmd *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	var number *strconv.NumError
	if errors.As(err, &value) && errors.As(err, &number) {
		kind := "number"
		if number.Func == "ParseBool" {
			kind = "true or false"
		}
		err = fmt.Errorf("--%s: %q is no %s that it can be", value.GetFlag().Name, value.GetValue(), kind)
	}
	return usageError(cmd, err)
}

// noSuchHelp refuses to help with a command that there is not: the help that cobra would
// give is that of the program.
func noSuchHelp(root *cobra.Command, args []string) error {
	if !slices.Contains(args, "--help") && !slices.Contains(args, "-h") {
		return nil
	}
	root.InitDefaultHelpFlag() // so that what is behind it is not taken for its value
	cmd, rest, err := root.Find(args)
	rest = slices.DeleteFunc(slices.Clone(rest), func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if cmd != root || err != nil || len(rest) == 0 || strings.HasPrefix(rest[0], "__") { // of completion, which is no command yet
		return err
	}
	return knownCommand(root, rest)
}

// usageError adds the way to the help to a mistake in the command line.
func usageError(cmd *cobra.Command, err error) error {
	return hint(err, "see %q", cmd.CommandPath()+" --help")
}

// knownCommand is reached with arguments only when no command has that name.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("no such command: %q", args[0])
	if args[0] == "help" {
		return hint(err, "see %q", strings.Join(append(append([]string{"mailstead"}, args[1:]...), "--help"), " "))
	}
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return hint(err, "did you mean %q?", "mailstead "+near[0])
	}
	return hint(err, "see %q", "mailstead --help")
}
