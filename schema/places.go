package schema

import (
	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// place is where the operator's files declare a field by its written name. CUE
// itself gives for a value made of several declarations the position of any of
// them, often that of a template; a person looks for the name.
type place struct {
	name  token.Pos // of the label
	value token.Pos
	plain bool // the value is a literal
	parts map[string]*place
}

// note records the declarations of a file or a struct.
func (p *place) note(decls []ast.Decl) {
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.Field:
			name, ok := fieldName(d.Label)
			if !ok || d.Constraint != token.ILLEGAL {
				continue // computed, or a constraint on a field that may not exist
			}
			p.part(name).declare(d)
		case *ast.EmbedDecl:
			p.noteValue(d.Expr)
		case *ast.Comprehension:
			p.noteValue(d.Value)
		}
	}
}

func (p *place) part(name string) *place {
	if p.parts == nil {
		p.parts = map[string]*place{}
	}
	q := p.parts[name]
	if q == nil {
		q = &place{}
		p.parts[name] = q
	}
	return q
}

// declare keeps the first declaration, but prefers one with a literal value,
// which is what a message about a value is about.
func (p *place) declare(f *ast.Field) {
	_, plain := f.Value.(*ast.BasicLit)
	if !p.name.IsValid() || plain && !p.plain {
		p.name, p.value, p.plain = f.Label.Pos(), f.Value.Pos(), plain
	}
	p.noteValue(f.Value)
}

func (p *place) noteValue(x ast.Expr) {
	switch x := x.(type) {
	case *ast.StructLit:
		p.note(x.Elts)
	case *ast.BinaryExpr:
		if x.Op == token.AND {
			p.noteValue(x.X)
			p.noteValue(x.Y)
		}
	case *ast.ParenExpr:
		p.noteValue(x.X)
	case *ast.Alias:
		p.noteValue(x.Expr)
	}
}

// find gives the place of a path and how many of its names were found.
func (p *place) find(path []string) (*place, int) {
	for i, name := range path {
		q := p.parts[name]
		if q == nil {
			return p, i
		}
		p = q
	}
	return p, len(path)
}

// namePos is where a field is named: by its written declaration, by what CUE
// knows of a computed one, or where the nearest field around it is named.
func (p *place) namePos(path []string, v cue.Value) Pos {
	near, n := p.find(path)
	if n == len(path) && near.name.IsValid() {
		return posOf(near.name)
	}
	if f, ok := v.Source().(*ast.Field); ok && isTheirs(f.Label.Pos()) {
		return posOf(f.Label.Pos())
	}
	if isTheirs(v.Pos()) {
		return posOf(v.Pos())
	}
	return posOf(near.name)
}

// valuePos is where a field's value stands.
func (p *place) valuePos(path []string, v cue.Value) Pos {
	near, n := p.find(path)
	if n == len(path) && near.value.IsValid() {
		return posOf(near.value)
	}
	if f, ok := v.Source().(*ast.Field); ok && isTheirs(f.Value.Pos()) {
		return posOf(f.Value.Pos())
	}
	return p.namePos(path, v)
}

// fieldName gives the name of a field whose label is written down, as opposed
// to computed.
func fieldName(l ast.Label) (string, bool) {
	name, _, err := ast.LabelName(l)
	return name, err == nil
}

func isTheirs(p token.Pos) bool { return p.IsValid() && !isOwn(p.Filename()) }

func posOf(p token.Pos) Pos {
	if !isTheirs(p) {
		return Pos{}
	}
	return unchunk(Pos{File: p.Filename(), Line: p.Line(), Col: p.Column()})
}
