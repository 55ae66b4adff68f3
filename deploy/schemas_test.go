package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/openapi/openapitest"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/kustomize/kyaml/openapi/kubernetesapi"
	"sigs.k8s.io/yaml"
)

// The API publishes schemas of its objects, and what checks manifests without a
// cluster, such as kubeconform, uses them. They say what the types do not: which
// fields must be there. Two modules have them: client-go those of a few groups, and
// kustomize those of all, of an earlier version.
var schemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	all := map[string]*jsonschema.Schema{}
	earlier, err := kustomizes()
	if err != nil {
		return nil, err
	}
	if err := addKinds(all, "kustomize.json", "definitions", earlier); err != nil {
		return nil, err
	}
	groups, err := openapitest.NewEmbeddedFileClient().Paths()
	if err != nil {
		return nil, err
	}
	for _, path := range []string{"api/v1", "apis/apps/v1"} {
		published, err := groups[path].Schema("application/json")
		if err != nil {
			return nil, err
		}
		if err := addKinds(all, strings.ReplaceAll(path, "/", "-")+".json", "components/schemas", published); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// kustomizes returns the schemas that kustomize has, as JSON.
func kustomizes() ([]byte, error) {
	var document openapi_v2.Document
	const version = kubernetesapi.DefaultOpenAPI
	if err := proto.Unmarshal(kubernetesapi.OpenAPIMustAsset[version]("kubernetesapi/"+strings.ReplaceAll(version, ".", "_")+"/swagger.pb"), &document); err != nil {
		return nil, err
	}
	var swagger spec.Swagger
	if _, err := swagger.FromGnostic(&document); err != nil {
		return nil, err
	}
	const either = "io.k8s.apimachinery.pkg.util.intstr.IntOrString" // a string, as this version of OpenAPI cannot say it
	swagger.Definitions[either] = spec.Schema{}
	return json.Marshal(spec.Swagger{SwaggerProps: spec.SwaggerProps{Definitions: swagger.Definitions}})
}

// addKinds adds the schema of each kind in a document of the API.
func addKinds(all map[string]*jsonschema.Schema, name, under string, document []byte) error {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	if err := compiler.AddResource(name, parsed); err != nil {
		return err
	}
	kinds, err := kindsOf(document, under)
	if err != nil {
		return err
	}
	for kind, at := range kinds {
		if all[kind], err = compiler.Compile(name + "#/" + under + "/" + at); err != nil {
			return err
		}
	}
	return nil
}

// published is the part of a schema that says of which kind it is.
type published struct {
	Kinds []struct{ Group, Version, Kind string } `json:"x-kubernetes-group-version-kind"`
}

// kindsOf returns the names of the schemas, by version and kind.
func kindsOf(document []byte, under string) (map[string]string, error) {
	rest := document
	for part := range strings.SplitSeq(under, "/") {
		var parts map[string]json.RawMessage
		if err := json.Unmarshal(rest, &parts); err != nil {
			return nil, err
		}
		rest = parts[part]
	}
	var named map[string]published
	if err := json.Unmarshal(rest, &named); err != nil {
		return nil, err
	}
	kinds := map[string]string{}
	for name, schema := range named {
		if len(schema.Kinds) == 1 { // else it is of no kind, or of many
			k := schema.Kinds[0]
			kinds[strings.TrimPrefix(k.Group+"/"+k.Version, "/")+" "+k.Kind] = name
		}
	}
	return kinds, nil
}

// conforms checks a document against the schema of its kind.
func conforms(document string) error {
	all, err := schemas()
	if err != nil {
		return err
	}
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		return err
	}
	text, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		return err
	}
	object, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	schema := all[kind.APIVersion+" "+kind.Kind]
	if schema == nil {
		return fmt.Errorf("%s %s has no schema", kind.APIVersion, kind.Kind)
	}
	if err := schema.Validate(object); err != nil {
		return fmt.Errorf("%s %s: %w", kind.APIVersion, kind.Kind, err)
	}
	return nil
}
