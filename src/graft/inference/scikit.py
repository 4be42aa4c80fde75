"""What scikit-learn asks of an estimator before it puts it into a pipeline."""

from typing import Any, Self


class FittedEstimator:
    """A classifier and transformer that is trained: nothing to fit, to search or to copy."""

    def fit(self, images: object = None, labels: object = None) -> Self:
        """Nothing happens: it is trained."""
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """No parameters."""
        return {}

    def __sklearn_clone__(self) -> Self:
        # A copy that is not fitted, which cross-validation wants of others, is of no use here.
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False, string=True),
            requires_fit=False,
        )
