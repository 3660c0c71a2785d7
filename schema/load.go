package schema

import (
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
)

// Options says what to load.
type Options struct {
	// Inputs are directories or single files, as the operator named them. Of
	// a directory all CUE files of one package are read, and the JSON and YAML
	// files beside them; of several inputs, all make up one description.
	Inputs []string
	// Tags are key=value pairs (or bare keys) for @tag and @if attributes.
	Tags []string

	// Instead is what the data files of these names hold, in place of what there is, in the
	// directories among Inputs: a description as it might be.
	Instead map[string][]byte

	streamFrom int // in place of the constant of that name; 0 is that
}

// Load reads, checks and completes a description. The error is a Diagnostics:
// every fault of the description at once.
func Load(opts Options) (*Config, error) { return loadWithin(usual, opts) }

func loadWithin(limit limits, opts Options) (*Config, error) {
	l := &loader{opts: opts, places: &place{}, faulty: map[string]bool{}, inboxRules: map[Pos]bool{}}
	var faults Diagnostics
	l.inputs, faults = openInputs(opts.Inputs)
	defer l.close()
	if len(faults) == 0 && len(l.inputs) == 0 {
		faults = Diagnostics{{Code: CodeInput, Message: "no description is named"}}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	for _, in := range l.inputs {
		if in.files == nil {
			in.assume(opts.Instead)
		}
	}
	var config *Config
	err := limit.run(func() {
		if config = l.load(); len(l.faults) > 0 {
			faults = l.report()
		}
	})
	switch {
	case err != nil:
		return nil, Diagnostics{*err}
	case len(faults) > 0:
		return nil, faults
	}
	return config, nil
}

// loader is the work on one description.
type loader struct {
	opts   Options
	inputs []*input
	schema *compiled
	places *place
	faults []Diagnostic
	faulty map[string]bool // keys of the paths at and below which there are faults

	hidden map[Pos]bool // where the lines of faults may hold a secret that neither path nor name gives away

	inboxRules map[Pos]bool // where the rules stand by which mail is removed from inboxes

	streams []streamed // users who are checked one by one, sorted by host and name
	whole   bool       // none is to be
}

func (l *loader) close() {
	for _, in := range l.inputs {
		in.Close()
	}
}

func (l *loader) load() *Config {
	var err error
	if l.schema, err = compileSchema(); err != nil {
		l.add(Diagnostic{Code: CodeInternal, Message: err.Error()})
		return nil
	}
	insts := l.readAll()
	if len(l.streams) > 0 && (insts == nil || !l.separable(insts)) {
		insts = l.readWhole()
	}
	if insts == nil {
		return nil
	}
	v := l.evaluate(insts)
	if len(l.streams) > 0 && !l.free(v) {
		if insts = l.readWhole(); insts == nil {
			return nil
		}
		v = l.evaluate(insts)
	}
	l.strict(l.schema.top, v, nil)
	if len(l.faults) == 0 {
		// What is not definite where no field shows it, such as the condition
		// of fields that are therefore not there.
		if err := v.Validate(cue.Concrete(true)); err != nil {
			l.cueErrors(err)
			return nil
		}
	}
	return l.complete(v)
}

// readAll reads every input, nil if one of them cannot be.
func (l *loader) readAll() (insts []*build.Instance) {
	for _, in := range l.inputs {
		if inst := l.read(in); inst != nil {
			insts = append(insts, inst)
		}
	}
	if len(insts) < len(l.inputs) {
		return nil
	}
	return insts
}

// evaluate unifies the inputs.
func (l *loader) evaluate(insts []*build.Instance) cue.Value {
	var v cue.Value
	for i, inst := range insts {
		for _, f := range inst.Files {
			l.places.note(f.Decls)
			l.noteInbox(f)
		}
		w := l.schema.ctx.BuildInstance(inst)
		if i == 0 {
			v = w
		} else {
			v = v.Unify(w)
		}
	}
	return v
}

// add records a fault.
func (l *loader) add(d Diagnostic) { l.faults = append(l.faults, d) }

// hide has the line of a fault shown without values.
func (l *loader) hide(p Pos) {
	if l.hidden == nil {
		l.hidden = map[Pos]bool{}
	}
	l.hidden[p] = true
}

// fault records a fault of the field at a path, whose message begins with that path.
func (l *loader) fault(code string, path []string, pos Pos, message, hint string) {
	for i := range len(path) + 1 {
		l.faulty[pathKey(path[:i])] = true
	}
	text := PathText(path)
	if text == "" {
		text = "the description"
	}
	l.add(Diagnostic{Code: code, Path: PathText(path), Pos: pos, Message: text + " " + message, Hint: hint})
}

func pathKey(path []string) string { return strings.Join(path, "\x00/") }

// PathText writes a path as CUE does: hosts."mail.example.org".users.alice.
func PathText(path []string) string {
	sels := make([]cue.Selector, len(path))
	for i, name := range path {
		sels[i] = cue.Str(cut(name, maxValue))
		if n, ok := strings.CutPrefix(name, indexMark); ok {
			index, _ := strconv.Atoi(n)
			sels[i] = cue.Index(index)
		}
	}
	return cue.MakePath(sels...).String()
}

// indexMark begins the part of a path that is a place in a list. No name has it.
const indexMark = "\x00"
