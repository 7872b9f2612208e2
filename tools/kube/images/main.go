// Command images makes the container images of Yubin's services, without a container engine: it builds each static binary, lays it
// beside certificate authorities and a user, and pushes the image or writes it as an OCI layout.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

type options struct {
	root, registry, out string
	version, revision   string
	tags, ldflags       string
	created             time.Time
	push                bool
	services, platforms []string
	remote              []remote.Option
	insecure            bool
	work                string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o options
	var services, platforms string
	var created int64
	flag.StringVar(&o.root, "root", ".", "root of the repository")
	flag.StringVar(&o.registry, "registry", "", "registry and path to which the services' names are added, such as registry.example.com/mail")
	flag.StringVar(&o.out, "out", "bin/images", "directory of the OCI layouts that are written unless they are pushed, and of the SBOMs")
	flag.StringVar(&o.version, "version", "dev", "version, which is also the tag")
	flag.StringVar(&o.revision, "revision", "", "commit")
	flag.StringVar(&o.tags, "tags", "", "build tags")
	flag.StringVar(&o.ldflags, "ldflags", "", "flags for the linker")
	flag.Int64Var(&created, "created", 0, "time of creation, in Unix time; the commit's makes builds repeatable")
	flag.BoolVar(&o.push, "push", false, "push to the registry")
	flag.BoolVar(&o.insecure, "insecure", false, "the registry has no TLS (localhost needs no such flag)")
	flag.StringVar(&services, "services", "smtp,pop3,imap,storage,quota,directory,autoconfig,yubin", "the services")
	flag.StringVar(&platforms, "platforms", "linux/amd64,linux/arm64", "the platforms")
	flag.Parse()
	o.services, o.platforms = strings.Split(services, ","), strings.Split(platforms, ",")
	o.created = time.Unix(created, 0).UTC()
	o.remote = []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if o.push && o.registry == "" {
		return fmt.Errorf("-push needs -registry")
	}
	work, err := os.MkdirTemp("", "yubin-images-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	o.work = work
	for _, service := range o.services {
		if err := o.make(ctx, service); err != nil {
			return fmt.Errorf("%s: %w", service, err)
		}
	}
	return nil
}

// built is an image of one platform and the list of what its binary is made of.
type built struct {
	image    v1.Image
	platform v1.Platform
	sbom     []byte
}

// make builds the image of a service for all platforms, and pushes or writes it.
func (o *options) make(ctx context.Context, service string) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var images []built
	for _, p := range o.platforms {
		platform, err := v1.ParsePlatform(p)
		if err != nil {
			return err
		}
		b, err := o.build(ctx, service, *platform)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		images = append(images, b)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: b.image, Descriptor: v1.Descriptor{Platform: &b.platform}})
	}
	index = mutate.Annotations(index, o.annotations(service)).(v1.ImageIndex)
	if o.push {
		return o.pushAll(service, index, images)
	}
	return o.write(service, index, images)
}

func (o *options) pushAll(service string, index v1.ImageIndex, images []built) error {
	options := []name.Option{name.StrictValidation}
	if o.insecure {
		options = append(options, name.Insecure)
	}
	tag, err := name.NewTag(o.registry+"/"+service+":"+o.version, options...)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(tag, index, o.remote...); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	for _, b := range images {
		attached, err := attach(b)
		if err != nil {
			return err
		}
		digest, err := attached.Digest()
		if err != nil {
			return err
		}
		if err := remote.Write(tag.Digest(digest.String()), attached, o.remote...); err != nil {
			return fmt.Errorf("push SBOM: %w", err)
		}
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s@%s\n", tag, digest)
	return nil
}

func (o *options) write(service string, index v1.ImageIndex, images []built) error {
	dir := filepath.Join(o.out, service)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if _, err := layout.Write(dir, index); err != nil {
		return fmt.Errorf("write layout: %w", err)
	}
	for _, b := range images {
		file := filepath.Join(o.out, fmt.Sprintf("%s-%s-%s.spdx.json", service, b.platform.OS, b.platform.Architecture))
		if err := os.WriteFile(file, b.sbom, 0o644); err != nil { // #nosec G306 -- everybody may read it
			return err
		}
	}
	fmt.Println(dir)
	return nil
}
