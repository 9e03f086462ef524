"""The terms of the context of RO-Crate 1.1 that exported runs use, each with its meaning."""

from __future__ import annotations

_SCHEMA_ORG = (
    "CreateAction CreativeWork Dataset IndividualProduct Organization Person PropertyValue",
    "about agent author contentSize contributor creativeWorkStatus dateCreated dateModified datePublished description",
    "encodingFormat endTime genre hasPart identifier instrument keywords license mentions name object propertyID",
    "result sdPublisher softwareRequirements startTime text unitText value variableMeasured version",
)
TERMS = {term: f"http://schema.org/{term}" for line in _SCHEMA_ORG for term in line.split()} | {
    "File": "http://schema.org/MediaObject",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
}
