package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is who the services run as: a number that no system gives to anybody, and that a policy can check.
const user = 65532

// sources is where the code lies, for those who look at an image.
const sources = "https://github.com/yubin-mail/yubin"

var descriptions = map[string]string{
	"smtp":       "SMTP gateway of the Yubin mail system",
	"pop3":       "POP3 gateway of the Yubin mail system",
	"imap":       "IMAP gateway of the Yubin mail system",
	"storage":    "Storage service of the Yubin mail system",
	"quota":      "Quota service of the Yubin mail system",
	"directory":  "Directory service of the Yubin mail system",
	"autoconfig": "Settings for mail programs, of the Yubin mail system",
	"yubin":      "Yubin mail system in one process, and its command line tool",
}

// annotations as the OCI image specification names them.
func (o *options) annotations(service string) map[string]string {
	a := map[string]string{
		"org.opencontainers.image.title":       "yubin-" + service,
		"org.opencontainers.image.description": descriptions[service],
		"org.opencontainers.image.version":     o.version,
		"org.opencontainers.image.created":     o.created.Format(time.RFC3339),
		"org.opencontainers.image.source":      sources,
		"org.opencontainers.image.vendor":      "Yubin",
	}
	if o.revision != "" {
		a["org.opencontainers.image.revision"] = o.revision
	}
	return a
}

// build makes the image of a service for a platform.
func (o *options) build(ctx context.Context, service string, platform v1.Platform) (built, error) {
	binary := filepath.Join(o.work, service+"-"+platform.Architecture)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", o.tags, "-ldflags", o.ldflags, "-o", binary, "./services/"+service) // #nosec G204 -- the caller names the service
	cmd.Dir = o.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+platform.OS, "GOARCH="+platform.Architecture)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return built{}, fmt.Errorf("build: %w", err)
	}
	sbom, err := o.sbom(service, binary)
	if err != nil {
		return built{}, fmt.Errorf("list modules: %w", err)
	}
	system, err := systemLayer()
	if err != nil {
		return built{}, err
	}
	program, err := programLayer(service, binary)
	if err != nil {
		return built{}, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: o.created}
	image, err = mutate.Append(image,
		mutate.Addendum{Layer: system, History: v1.History{Created: created, CreatedBy: "user and certificate authorities"}},
		mutate.Addendum{Layer: program, History: v1.History{Created: created, CreatedBy: "go build ./services/" + service}})
	if err != nil {
		return built{}, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return built{}, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = platform.OS, platform.Architecture, platform.Variant
	file.Created = created
	file.Config = v1.Config{
		Entrypoint: []string{"/usr/bin/" + service},
		User:       fmt.Sprintf("%d:%d", user, user),
		WorkingDir: "/",
		Env:        []string{"PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
		Labels:     maps.Clone(o.annotations(service)),
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return built{}, err
	}
	image = mutate.Annotations(image, o.annotations(service)).(v1.Image)
	return built{image: image, platform: platform, sbom: sbom}, nil
}

type entry struct {
	name string
	mode int64
	data []byte // a directory without
	path string // of the data, if it is in a file
	own  int    // who it belongs to, user and group
}

// systemLayer is what a static program expects of a system: a user, certificate authorities, and a directory for temporary files.
func systemLayer() (v1.Layer, error) {
	var roots bytes.Buffer
	for root := range bundle.Roots() {
		if err := pem.Encode(&roots, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return layer([]entry{
		{name: "etc/", mode: 0o755},
		{name: "etc/passwd", mode: 0o644, data: fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nyubin:x:%d:%[1]d:yubin:/:/sbin/nologin\n", user)},
		{name: "etc/group", mode: 0o644, data: fmt.Appendf(nil, "root:x:0:\nyubin:x:%d:\n", user)},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: roots.Bytes()},
		{name: "tmp/", mode: 0o1777},
		{name: "var/", mode: 0o755},
		{name: "var/lib/", mode: 0o755},
		{name: "var/lib/yubin/", mode: 0o700, own: user}, // a new volume of a container engine takes over whose it is
	})
}

func programLayer(service, binary string) (v1.Layer, error) {
	return layer([]entry{
		{name: "usr/", mode: 0o755},
		{name: "usr/bin/", mode: 0o755},
		{name: "usr/bin/" + service, mode: 0o755, path: binary},
	})
}

// layer is a gzipped tar in which nothing depends on the machine or the time.
func layer(entries []entry) (v1.Layer, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		data := e.data
		if e.path != "" {
			var err error
			if data, err = os.ReadFile(e.path); err != nil {
				return nil, err
			}
		}
		header := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(data)), Typeflag: tar.TypeReg, Uid: e.own, Gid: e.own, Format: tar.FormatUSTAR, ModTime: time.Unix(0, 0)}
		if data == nil {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(out.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}
