"""What the package offers; each name is imported when it is first used."""

__all__: list[str]
__version__: str

from .errors import CardError as CardError
from .errors import DataError as DataError
from .errors import MissingExtraError as MissingExtraError
from .errors import Problem as Problem
from .errors import PublishError as PublishError
from .errors import RecipeError as RecipeError
from .errors import ReleaseError as ReleaseError
from .predict.predictor import EmotionPrediction as EmotionPrediction
from .predict.predictor import EmotionPredictor as EmotionPredictor
from .predict.predictor import Turn as Turn
from .prompts import load_prompt as load_prompt
from .records import read_records as read_records
from .serve.client import ServedModel as ServedModel
from .step import StepResult as StepResult
from .steps.adapter import TrainedSeeds as TrainedSeeds
from .steps.adapter import check_adapter as check_adapter
from .steps.adapter import train_adapter as train_adapter
from .steps.adapter import train_seeds as train_seeds
from .steps.compare import check_claims as check_claims
from .steps.compare import compare_scores as compare_scores
from .steps.compare import score_table as score_table
from .steps.dataset import audit_dataset as audit_dataset
from .steps.dataset import build_dataset as build_dataset
from .steps.dataset import check_corpora as check_corpora
from .steps.dataset import check_dataset as check_dataset
from .steps.dataset import fetch_corpora as fetch_corpora
from .steps.dataset import hydrate_dataset as hydrate_dataset
from .steps.doctor import examine as examine
from .steps.model import ModelChoice as ModelChoice
from .steps.model import build_backbone as build_backbone
from .steps.model import export_training as export_training
from .steps.model import merge_adapter as merge_adapter
from .steps.predict import predict_file as predict_file
from .steps.recipe import DataOptions as DataOptions
from .steps.recipe import new_recipe as new_recipe
from .steps.release import check_cards as check_cards
from .steps.release import publish as publish
from .steps.release import render_card as render_card
from .steps.release import verify_release as verify_release
from .steps.release import write_card as write_card
from .steps.score import calibrate_adapter as calibrate_adapter
from .steps.score import score as score
from .steps.score import score_baseline as score_baseline
from .steps.score import score_each_way as score_each_way
from .steps.score import score_predictions as score_predictions
from .steps.score import score_served as score_served
from .steps.video import Limits as Limits
from .steps.video import describe_clips as describe_clips
from .steps.video import survey_clips as survey_clips
from .steps.video import video_status as video_status
