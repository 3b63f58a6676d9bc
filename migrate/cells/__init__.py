"""The architectures as MindSpore networks, with the heads of the architecture files.

This package imports MindSpore; nothing else in :mod:`mindport.migrate` does.
"""

from __future__ import annotations

from mindport.migrate.cells.bert import BertModel
from mindport.migrate.cells.bert_classifiers import (
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from mindport.migrate.cells.bert_heads import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
)
from mindport.migrate.cells.distilbert import DistilBertModel
from mindport.migrate.cells.distilbert_heads import (
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)
from mindport.migrate.cells.gpt2 import GPT2Model
from mindport.migrate.cells.gpt2_heads import GPT2ForSequenceClassification, GPT2LMHeadModel
from mindport.migrate.cells.loading import LoadReport, load_parameters
from mindport.migrate.cells.pretrained import ModelOutput, PretrainedModel
from mindport.migrate.cells.roberta import (
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)

__all__ = [
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "DistilBertForMaskedLM",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "GPT2ForSequenceClassification",
    "GPT2LMHeadModel",
    "GPT2Model",
    "LoadReport",
    "ModelOutput",
    "PretrainedModel",
    "RobertaForMaskedLM",
    "RobertaForQuestionAnswering",
    "RobertaForSequenceClassification",
    "RobertaForTokenClassification",
    "RobertaModel",
    "load_parameters",
]
