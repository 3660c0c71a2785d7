package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/schema"
)

// faultsFile is the file of the state directory with the certificates that the
// deploy hook or its timer could not bring into force. It is there for as long
// as there is one: certbot forgets that a hook failed, and the journal scrolls
// away. Everybody may read it; it holds no secret.
const faultsFile = "certificate-faults.json"

const faultsVersion = 1

// certificateFault is a certificate that is not in force, and why.
type certificateFault struct {
	Certificate string    `json:"certificate"`
	Since       time.Time `json:"since"` // of the first try that failed
	Fault       string    `json:"fault"`
}

// certificateFaults is the content of faultsFile, sorted by name.
type certificateFaults struct {
	Version int                `json:"version"`
	Faults  []certificateFault `json:"faults"`
}

// readFaults gives the faults of certificates that the host still has.
func readFaults(host *schema.Host) ([]certificateFault, error) {
	path := filepath.Join(host.Paths.State, faultsFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which certificates failed: %w", err)
	}
	var f certificateFaults
	if err := json.Unmarshal(data, &f); err != nil || f.Version != faultsVersion {
		return nil, fmt.Errorf("read which certificates failed: %s is damaged, or of another version", path)
	}
	return slices.DeleteFunc(f.Faults, func(f certificateFault) bool {
		return !slices.ContainsFunc(host.TLS.Certificates, func(c schema.Certificate) bool { return c.Name == f.Certificate })
	}), nil
}

// recordFaults keeps what came of the certificates that were looked after, nil
// for one that is in force. It writes only what differs, under the lock.
func recordFaults(ctx context.Context, host *schema.Host, outcomes map[string]error, now time.Time) error {
	old, readErr := readFaults(host)
	faults := slices.Clone(old)
	for name, err := range outcomes {
		why := ""
		if err != nil { // without the name, which whoever shows it has before it
			why = strings.TrimPrefix(err.Error(), kind.CertificateRef(name).String()+" ")
		}
		i := slices.IndexFunc(faults, func(f certificateFault) bool { return f.Certificate == name })
		switch {
		case err == nil && i >= 0:
			faults = slices.Delete(faults, i, i+1)
		case err != nil && i >= 0:
			faults[i].Fault = why
		case err != nil:
			faults = append(faults, certificateFault{Certificate: name, Since: now.UTC().Truncate(time.Second), Fault: why})
		}
	}
	if readErr == nil && slices.Equal(old, faults) {
		return nil
	}
	slices.SortFunc(faults, func(a, b certificateFault) int { return cmp.Compare(a.Certificate, b.Certificate) })
	if err := writeFaults(ctx, host.Paths.State, faults); err != nil {
		return fmt.Errorf("record which certificates failed: %w", err)
	}
	return nil
}

// forgetFaults drops the faults of certificates that are in force by now.
func forgetFaults(ctx context.Context, host *schema.Host, opts desired.Options) error {
	faults, _ := readFaults(host)
	if len(faults) == 0 {
		return nil
	}
	outcomes := map[string]error{}
	for _, f := range faults {
		outcomes[f.Certificate] = nil
	}
	l, err := lookForCertificates(ctx, host, opts)
	if err != nil {
		return err
	}
	defer l.close()
	if _, err := l.compareServing(ctx, outcomes); err != nil {
		return err
	}
	if err := l.prove(ctx, outcomes, hookServeWait, &console{out: io.Discard}); err != nil {
		return err
	}
	maps.DeleteFunc(outcomes, func(_ string, err error) bool { return err != nil })
	if err := recordFaults(ctx, host, outcomes, time.Now()); err != nil || len(outcomes) < len(faults) {
		return err
	}
	showFailed(ctx, opts, deployHookOptions{all: true}, nil)
	return nil
}

func writeFaults(ctx context.Context, state string, faults []certificateFault) error {
	const wait = 5 * time.Second // whoever has the lock may be the fault
	lock, err := reconcile.TakeLock(ctx, state, wait)
	if err != nil {
		return err
	}
	defer lock.Release()
	dir, err := reconcile.OpenDir(state, false)
	if err != nil {
		return err
	}
	defer dir.Close()
	if len(faults) == 0 {
		return dir.Remove(faultsFile)
	}
	data, err := json.MarshalIndent(certificateFaults{Version: faultsVersion, Faults: faults}, "", " ")
	if err != nil {
		return err
	}
	return dir.Replace(faultsFile, reconcile.FileData{Mode: 0o644, UID: -1, GID: -1, Data: append(data, '\n')})
}
