package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// spdxMediaType is the media type that IANA has for SPDX in JSON.
const spdxMediaType = "application/spdx+json"

// The parts of an SPDX 2.3 document that a list of Go modules needs.
type spdxDocument struct {
	Version           string             `json:"spdxVersion"`
	DataLicense       string             `json:"dataLicense"`
	ID                string             `json:"SPDXID"`
	Name              string             `json:"name"`
	Namespace         string             `json:"documentNamespace"`
	Creation          spdxCreation       `json:"creationInfo"`
	DocumentDescribes []string           `json:"documentDescribes"`
	Packages          []spdxPackage      `json:"packages"`
	Relationships     []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID       string         `json:"SPDXID"`
	Name     string         `json:"name"`
	Version  string         `json:"versionInfo,omitempty"`
	Download string         `json:"downloadLocation"`
	Analyzed bool           `json:"filesAnalyzed"`
	Refs     []spdxExternal `json:"externalRefs,omitempty"`
}

type spdxExternal struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// sbom lists the modules and the Go version that a binary says it is made of.
func (o *options) sbom(service, binary string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	const main = "SPDXRef-main"
	doc := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: "yubin-" + service,
		Namespace:         fmt.Sprintf("%s/sbom/%s/%s", sources, service, o.version),
		Creation:          spdxCreation{Created: o.created.Format(time.RFC3339), Creators: []string{"Tool: yubin-images"}},
		DocumentDescribes: []string{main},
		Packages:          []spdxPackage{{ID: main, Name: info.Path, Version: o.version, Download: sources}},
	}
	add := func(name, version string) {
		id := fmt.Sprintf("SPDXRef-module-%d", len(doc.Packages))
		doc.Packages = append(doc.Packages, spdxPackage{
			ID: id, Name: name, Version: version, Download: "NOASSERTION",
			Refs: []spdxExternal{{Category: "PACKAGE-MANAGER", Type: "purl", Locator: "pkg:golang/" + name + "@" + version}},
		})
		doc.Relationships = append(doc.Relationships, spdxRelationship{From: main, Type: "DEPENDS_ON", To: id})
	}
	add("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
	for _, dep := range info.Deps {
		if dep.Replace != nil && dep.Replace.Version == "" || dep.Version == "(devel)" {
			add(dep.Path, o.version) // a module of ours
			continue
		}
		add(dep.Path, dep.Version)
	}
	return json.MarshalIndent(doc, "", " ")
}

// attach makes an artifact that refers to an image, as section "referrers" of the OCI distribution specification describes it.
func attach(b built) (v1.Image, error) {
	digest, err := b.image.Digest()
	if err != nil {
		return nil, err
	}
	size, err := b.image.Size()
	if err != nil {
		return nil, err
	}
	artifact := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), spdxMediaType)
	if artifact, err = mutate.AppendLayers(artifact, static.NewLayer(b.sbom, spdxMediaType)); err != nil {
		return nil, err
	}
	subject := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size}
	return mutate.Subject(artifact, subject).(v1.Image), nil
}
