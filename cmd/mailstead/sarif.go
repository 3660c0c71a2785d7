package main

import (
	"net/url"
	"path/filepath"
	"slices"

	"mailstead/schema"
)

// What SARIF 2.1.0 (OASIS, with errata 01) has of a run, as far as it is said
// here. Section numbers are those of the standard.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		ColumnKind  string            `json:"columnKind"` // §3.14.17
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"` // never null: that would say that the check was not made
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string       `json:"id"`
		Short sarifMessage `json:"shortDescription"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful bool `json:"executionSuccessful"`
		ExitCode   int  `json:"exitCode"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
		Context  *sarifRegion  `json:"contextRegion,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int           `json:"startLine"`
		StartColumn int           `json:"startColumn,omitempty"`
		EndColumn   int           `json:"endColumn,omitempty"`
		Snippet     *sarifMessage `json:"snippet,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
	}
)

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// newSARIF gives the faults of a description as a SARIF log; without any it
// says that there are none.
func newSARIF(faults schema.Diagnostics) sarifLog {
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "mailstead", Version: ownVersion()}},
		ColumnKind:  "unicodeCodePoints",
		Invocations: []sarifInvocation{{Successful: true}},
		Results:     []sarifResult{},
	}
	for _, c := range schema.Codes {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{c.Word, sarifMessage{c.Meaning}})
	}
	for _, d := range faults {
		run.Invocations[0].ExitCode = exitInvalid
		run.Results = append(run.Results, newSARIFResult(d))
	}
	return sarifLog{sarifSchema, "2.1.0", []sarifRun{run}}
}

func newSARIFResult(d schema.Diagnostic) sarifResult {
	message := d.Message
	if d.Hint != "" {
		message += "\nhint: " + d.Hint
	}
	at := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{fileURI(d.Pos.File)}}}
	if d.Pos.Line > 0 {
		at.Physical.Region = &sarifRegion{StartLine: d.Pos.Line}
	}
	if x := d.Excerpt; x != nil {
		at.Physical.Region = &sarifRegion{StartLine: d.Pos.Line, StartColumn: x.Col, EndColumn: x.EndCol}
		at.Physical.Context = &sarifRegion{StartLine: d.Pos.Line, Snippet: &sarifMessage{x.Line}}
	}
	if d.Path != "" {
		at.Logical = []sarifLogical{{d.Path}}
	}
	return sarifResult{
		RuleID:    d.Code,
		RuleIndex: slices.IndexFunc(schema.Codes, func(c schema.Term) bool { return c.Word == d.Code }),
		Level:     "error",
		Message:   sarifMessage{message},
		Locations: []sarifLocation{at},
	}
}

// fileURI gives a file as a URI: relative to the working directory, or absolute.
func fileURI(name string) string {
	u := url.URL{Path: filepath.ToSlash(name)}
	if filepath.IsAbs(name) {
		u.Scheme = "file"
	}
	return u.String()
}
