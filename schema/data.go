package schema

import (
	"fmt"
	"path"
	"slices"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
	"cuelang.org/go/encoding/json"
	"cuelang.org/go/encoding/yaml"
)

// readData parses a JSON or YAML file.
func (l *loader) readData(in *input, name string) *ast.File {
	full := path.Join(in.dir, name)
	shown := in.show(full)
	text, err := in.ReadFile(full)
	if err != nil {
		l.add(inputFault(shown, err))
		return nil
	}
	var f *ast.File
	if path.Ext(name) == ".json" {
		var x ast.Expr
		if x, err = json.Extract(shown, l.stream(shown, text)); err == nil {
			f = &ast.File{Filename: shown, Decls: []ast.Decl{&ast.EmbedDecl{Expr: x}}}
		}
	} else {
		f, err = yaml.Extract(shown, text)
	}
	if err != nil {
		l.cueErrors(err)
		return nil
	}
	return l.structFile(f)
}

// structFile gives a data file as the fields of its one object.
func (l *loader) structFile(f *ast.File) *ast.File {
	if len(f.Decls) == 1 {
		if e, ok := f.Decls[0].(*ast.EmbedDecl); ok {
			s, ok := e.Expr.(*ast.StructLit)
			if _, empty := e.Expr.(*ast.BinaryExpr); empty {
				s, ok = &ast.StructLit{}, true // YAML of comments alone is "*null | _"
			}
			if !ok {
				l.add(Diagnostic{Code: CodeType, Pos: Pos{File: f.Filename, Line: 1, Col: 1},
					Message: fmt.Sprintf("%s must hold one object, such as {\"hosts\": {...}}", f.Filename)})
				return nil
			}
			f.Decls = s.Elts
		}
	}
	f.Decls = slices.DeleteFunc(f.Decls, isSchemaKey)
	l.duplicateNames(f.Decls)
	return f
}

// schemaKey is the name under which a JSON or YAML file tells an editor by
// which JSON Schema to check it.
const schemaKey = "$schema"

func isSchemaKey(d ast.Decl) bool {
	f, ok := d.(*ast.Field)
	if !ok {
		return false
	}
	name, _ := fieldName(f.Label)
	_, plain := f.Value.(*ast.BasicLit)
	return name == schemaKey && plain
}

// duplicateNames finds names that stand twice in one object of a data file.
// CUE would unify the two: a user pasted twice would become a mixture.
func (l *loader) duplicateNames(decls []ast.Decl) {
	seen := make(map[string]token.Pos, len(decls))
	for _, d := range decls {
		f, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		name, ok := fieldName(f.Label)
		if !ok {
			continue
		}
		if at, twice := seen[name]; twice {
			l.add(Diagnostic{Code: CodeDuplicate, Pos: posOf(f.Label.Pos()),
				Message: fmt.Sprintf("the name %s stands twice in this object, first at %v", quote(name), posOf(at))})
			continue
		}
		seen[name] = f.Label.Pos()
		if s, ok := f.Value.(*ast.StructLit); ok {
			l.duplicateNames(s.Elts)
		}
	}
}
